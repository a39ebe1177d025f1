"""Spikes of macaque IT to short video clips: a MATLAB 7.3 file with the struct `L2_str`.

`spikes` is cells in cells, unit, clip, repeat, of spike times in seconds from clip onset; [] is a silent
trial. mat73 gives a cell of n x 1 as ``[[a], [b]]`` and one of 1 x n as ``[a, b]``, [] as None, and a single
spike as an array without axes: all mean the same here.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import mat73
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import texts, unique
from stores.readers.files import LISTED
from stores.readers.hdf5 import opened
from stores.readers.reader import Reader
from stores.readers.spikes import Trials, binned

DATASET: Final = "it_cshl"
STRUCT: Final = "L2_str"
FIELDS: Final = ("spikes", "items", "itemnames", "itempos", "trialnum", "neuron_id", "fields")
KEPT: Final = ("spikes", "itemnames", "neuron_id")
Nest = list[list[list[NDArray[np.float64]]]]


def read(
    path: Path, *, start: float = -0.05, stop: float = 0.3, width: float = 0.05, rate: bool = False
) -> Mapping[str, xr.DataArray]:
    """Spike counts per unit and clip of one session.

    path : the .mat file, or a folder with one of them.    start, stop, width : the bins, seconds.
    Repeats are ragged: a trial that is not there is NaN, a silent one is 0. Raises InputError.
    """
    path = _one_file(Path(path).expanduser())
    record = load(path)
    nest = spike_times(path, record["spikes"])
    if not nest or not max(len(clips) for clips in nest):
        raise InputError(f"{path}: {STRUCT}.spikes has no units, or no clips")
    clips = max(len(one) for one in nest)
    trials = [
        (times, clip, unit, repeat)
        for unit, of_unit in enumerate(nest)
        for clip, of_clip in enumerate(of_unit)
        for repeat, times in enumerate(of_clip)
    ]
    if not trials:
        raise InputError(f"{path}: {STRUCT}.spikes has no trials")
    times, stimulus, unit, repeat = zip(*trials, strict=True)
    ids = unique(path, f"{STRUCT}.itemnames", names(path, record.get("itemnames"), clips, "clip"))
    units = [f"u{number}" for number in names(path, record.get("neuron_id"), len(nest), "")]
    left = [name for name in FIELDS if name in record and name not in KEPT]
    cube = binned(
        Trials.of(times, stimulus, unit, repeat),
        stimuli=ids,
        units=unique(path, f"{STRUCT}.neuron_id", units),
        start=start,
        stop=stop,
        width=width,
        rate=rate,
        sources=[path],
        attrs={"dataset": DATASET, **_who(path)},
        coords={
            "trials": (UNIT, np.array([sum(map(len, one)) for one in nest])),
            "region": (UNIT, texts(["IT"] * len(nest))),
            "file": (STIMULUS, texts(ids)),
        },
        dropped={f"field {STRUCT}.{name}": 1 for name in left},
    )
    return {"spikes": cube}


def load(path: Path) -> dict[str, Any]:
    """The fields of the struct as mat73 gives them, a struct array as one list per field, units unwrapped.

    Raises InputError.
    """
    with _quiet() as heard, opened(path) as file:
        if not isinstance(file.get(STRUCT), h5py.Group):
            raise InputError(f"{path} has no struct {STRUCT!r}; it has {', '.join(list(file)[:LISTED])}")
        if "spikes" not in file[STRUCT]:
            raise InputError(f"{path}: {STRUCT} has no field 'spikes'; it has {', '.join(file[STRUCT])}")
        units = file[STRUCT]["spikes"]
        column = isinstance(units, h5py.Dataset) and units.ndim == 2 and units.shape[0] == 1 < units.shape[1]
        record = mat73.loadmat(path, only_include=[STRUCT]).get(STRUCT)
    if complaint := heard.getvalue().strip():
        raise InputError(f"{path}: {complaint.splitlines()[0]}. Is it whole? Fetch it again.")
    if isinstance(record, list) and record and all(isinstance(one, dict) for one in record):
        record = {name: [one[name] for one in record] for name in record[0]}
    if not isinstance(record, dict) or not isinstance(record.get("spikes"), list):
        raise InputError(
            f"{path}: {STRUCT}.spikes is no cell array; wanted cells of units, clips and repeats"
        )
    if column:
        record["spikes"] = [_bare(one, once=True) for one in record["spikes"]]
    return record


def spike_times(path: Path, units: list[Any]) -> Nest:
    """Unit, clip, repeat -> spike times, whatever the orientation of the cells of clips and of repeats.

    Raises InputError where a cell holds something other than finite numbers.
    """
    found: Nest = []
    for u, unit in enumerate(units):
        clips = enumerate(_clips(unit))
        found.append(
            [[_times(path, train, (u, c, r)) for r, train in enumerate(_repeats(clip))] for c, clip in clips]
        )
    return found


def _clips(unit: Any) -> list[Any]:
    """Clips of a unit. A clip is a list of repeats, so a list in a list in a list is a cell of n x 1."""
    if not isinstance(unit, list):
        return [] if unit is None else [[unit]]
    wrapped = all(isinstance(one, list) and len(one) == 1 for one in unit) and len(unit) > 1
    if wrapped and any(isinstance(one[0], list) for one in unit):
        return [one[0] for one in unit]
    return unit


def _repeats(clip: Any) -> list[Any]:
    """Repeats of a clip: `[[a], [b]]` and `[a, b]` alike; a bare train is the only one; {} has none."""
    if not isinstance(clip, list):
        return [clip]
    if all(isinstance(one, list) and not one for one in clip):
        return []
    return [_bare(one) for one in clip]


def names(path: Path, found: Any, count: int, letter: str) -> list[str]:
    """One name per element of a cell or array; made up by place where the file has none of that length."""
    flat = [_bare(one) for one in (found if isinstance(found, list) else np.ravel(found).tolist())]
    if (
        found is None
        or len(flat) != count
        or any(one is None or isinstance(one, list | dict) for one in flat)
    ):
        if found is not None and len(flat) != 0:
            raise InputError(f"{path}: a field with names has {len(flat)} of them; spikes has {count}")
        return [f"{letter}{n:04d}" for n in range(count)]
    return [_name(path, one) for one in flat]


def _name(path: Path, value: Any) -> str:
    number = np.asarray(value)
    if number.dtype.kind != "f" or number.size != 1:
        return str(value)
    if not np.isfinite(number).all():
        raise InputError(f"{path}: a field with names holds {number.item()}; wanted text, or numbers")
    return str(int(number.item())) if number.item().is_integer() else str(value)


def _bare(one: Any, once: bool = False) -> Any:
    """What a one-element list, of one-element lists, holds."""
    while isinstance(one, list) and len(one) == 1:
        one = one[0]
        if once:
            break
    return one


def _times(path: Path, train: Any, where: tuple[int, int, int]) -> NDArray[np.float64]:
    if train is None or (isinstance(train, list) and not train):
        return np.empty(0)
    try:
        times = np.atleast_1d(np.asarray(train)).ravel()
        if times.dtype.kind not in "fiu" or not np.isfinite(times).all():
            raise ValueError(f"{times.dtype}, not all finite")
    except ValueError as error:
        unit, clip, repeat = (n + 1 for n in where)
        raise InputError(
            f"{path}: {STRUCT}.spikes{{{unit}}}{{{clip}}}{{{repeat}}} holds no spike times ({error}); "
            "wanted finite seconds from clip onset"
        ) from error
    return times.astype(np.float64)


def _one_file(path: Path) -> Path:
    if not path.exists():
        raise InputError(
            f"{path} does not exist; wanted a .mat file with {STRUCT}, or the folder that holds it"
        )
    if path.is_file():
        return path
    found = sorted(path.glob("*.mat"))
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(found)} files *.mat; wanted one with the struct {STRUCT}"
            + (": name the session's file itself" if found else "")
        )
    return found[0]


def _who(path: Path) -> dict[str, str]:
    """Session and subject from a name such as `x_fixshortvid1_coco_....mat`."""
    parts = path.stem.split("_")
    return {
        "subject": parts[2] if len(parts) > 2 else path.stem,
        "session": parts[1] if len(parts) > 2 else "",
    }


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """What mat73 prints and logs where it cannot decode something goes here, to be raised."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(heard), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield heard
    finally:
        root.removeHandler(handler)


READER: Final = Reader(
    "it_cshl",
    "Spikes of macaque IT to short video clips, MATLAB 7.3 with the struct L2_str.",
    ("*.mat",),
    read,
)
