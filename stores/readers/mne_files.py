"""Epochs and averages (evoked) that MNE saved: one cube per type of channel.

In epochs a stimulus is told by the table of trials (metadata), in the first of `STIMULUS_COLUMNS` that it has,
or else by the name of the event; which one is told as ``attrs["stimulus_from"]``. Its repeats go by the time of
their events, whatever their order in the file. In averages a stimulus is a condition, presented once. Values are
as stored: no projector is applied that was not, and no baseline is taken. Each cube reads the file for itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

import mne
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, unique
from stores.readers.events import event_coords, stimulus_ids
from stores.readers.fif import FifTrials, chain, epochs_of, told, whole
from stores.readers.lazy import Region, from_blocks, plausible
from stores.readers.reader import Reader
from stores.readers.sensors import Sensors, sensors
from stores.readers.slabs import single
from stores.readers.trials import TrialReader, blocks, presented

EPOCHS: Final = ("*-epo.fif", "*_epo.fif", "*-epo.fif.gz", "*_epo.fif.gz")
EVOKED: Final = ("*-ave.fif", "*_ave.fif", "*-ave.fif.gz", "*_ave.fif.gz")
STIMULUS_COLUMNS: Final = (
    *("stimulus", "stimulus_id", "stim_file", "stim_id", "image", "image_file", "image_path", "file_path"),
)
DATASET: Final = "mne"


def read_epochs(path: Path, *, stimulus: str | None = None) -> Mapping[str, xr.DataArray]:
    """`<file>/mag`, `<file>/grad`, `<file>/eeg` of each chain here or below; `epochs` says more. InputError."""
    files = [one for one in files_like(path, EPOCHS) if "_split-" not in one.name or "_split-01_" in one.name]
    return {
        f"{name}/{kind}": cube for name, one in named(files) for kind, cube in epochs(one, stimulus).items()
    }


def read_evoked(path: Path) -> Mapping[str, xr.DataArray]:
    """`<file>/mag`, ... of every file of averages, and `<file>/standard_error/mag`. Raises InputError."""
    files = files_like(path, EVOKED)
    return {f"{name}/{kind}": cube for name, one in named(files) for kind, cube in evoked(one).items()}


def epochs(head: Path, stimulus: str | None = None) -> dict[str, xr.DataArray]:
    """One chain as cubes (stimulus, channel, time, repeat) by type of channel.

    stimulus : the column of the table of trials that tells the stimulus; "event" for the name of the event.
    Every column is `trial_<column>` or `event_<column>`; `trial` and `trial_sample` tell place and time in the
    recording. Epochs without a stimulus, and channels of other types, are counted in ``attrs["dropped"]``.
    Raises InputError.
    """
    parts = chain(head)
    for part in parts:
        whole(part)
    found = epochs_of(head, parts)
    table = found.metadata if found.metadata is not None else pd.DataFrame(index=range(len(found)))
    table = table.reset_index(drop=True)
    events = found.events
    if len(table) != len(events):
        raise InputError(f"{head}: its table of trials has {len(table)} rows for {len(events)} epochs")
    ids, source = _stimuli(head, found, table, stimulus)
    order = np.argsort(events[:, 0], kind="stable")
    rows = [n for n in order.tolist() if ids[n]]
    if not rows:
        raise InputError(f"{head}: none of its {len(ids)} epochs has a stimulus, in the {source}")
    shown = presented([ids[n] for n in rows], rows)
    names = {code: name for name, code in found.event_id.items()}
    table = table.assign(
        sample=events[:, 0], event=[names.get(one, str(one)) for one in events[:, 2].tolist()]
    )
    coords = {**event_coords(shown, table), "trial": ((STIMULUS, REPEAT), shown.trials)}
    kinds, left = sensors(head, found.info)
    attrs = {
        "baseline": [float(one) for one in found.baseline] if found.baseline else "none",
        "rejected": dict(Counter(", ".join(why) for why in found.drop_log if why and why != ("IGNORED",))),
        "stimulus_from": source,
    }
    cubes = {}
    for one in kinds:
        shape = (len(shown.stimuli), len(one.names), len(found.times), shown.trials.shape[1])
        cubes[one.kind] = _cube(
            from_blocks(
                TrialReader(FifTrials(head, parts, one.picks), shown.trials),
                blocks(shape, np.float32, whole=[UNIT, TIME], slow=STIMULUS),
                np.float32,
            ),
            one,
            found.times,
            shown.stimuli,
            parts,
            {**coords, **one.coords},
            attrs,
            {"epochs without a stimulus": len(ids) - len(rows), **left},
        )
    return cubes


@dataclass(frozen=True)
class Averages:
    """Some averages of one file as blocks (stimulus = average, channel, time, 1)."""

    path: Path
    numbers: tuple[int, ...]
    picks: tuple[int, ...]

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Values there. Raises InputError."""
        picks = list(self.picks[where[1]])
        rows = [_average(self.path, number).data[picks, where[2]] for number in self.numbers[where[0]]]
        return single(self.path, "its averages", np.stack(rows))[..., None]


def evoked(path: Path) -> dict[str, xr.DataArray]:
    """One file of averages as cubes (condition, channel, time, 1) by type of channel; `averaged` counts trials.

    Raises InputError.
    """
    whole(path)
    plausible(path, "its size", (path.stat().st_size,), 1, loaded=True)
    heads = _averages(path)
    first = heads[0]
    for one in heads:
        if one.ch_names != first.ch_names or not np.array_equal(one.times, first.times):
            raise InputError(f"{path}: {one.comment!r} has other channels or times than {first.comment!r}")
    kinds, left = sensors(path, first.info)
    found = {}
    for measure in sorted({one.kind for one in heads}):
        numbers = tuple(n for n, one in enumerate(heads) if one.kind == measure)
        names = unique(path, f"its {measure}s", [str(heads[n].comment) for n in numbers])
        baselines = [heads[n].baseline or (np.nan, np.nan) for n in numbers]
        coords = {
            "averaged": (STIMULUS, np.array([heads[n].nave for n in numbers], np.int64)),
            "baseline_from": (STIMULUS, np.array([float(one[0]) for one in baselines])),
            "baseline_to": (STIMULUS, np.array([float(one[1]) for one in baselines])),
        }
        for one in kinds:
            shape = (len(numbers), len(one.names), len(first.times), 1)
            step = max(1, 2**25 // (4 * prod(shape[1:])))
            cut = tuple(min(step, shape[0] - start) for start in range(0, shape[0], step))
            values = from_blocks(
                Averages(path, numbers, one.picks), (cut, *((n,) for n in shape[1:])), np.float32
            )
            name = one.kind if measure == "average" else f"{measure}/{one.kind}"
            labels, attrs = {**coords, **one.coords}, {"measure": measure}
            found[name] = _cube(values, one, first.times, names, [path], labels, attrs, left)
    return found


def files_like(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The file itself, or all in this folder or below whose names are like one of these. Raises InputError."""
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file {patterns[0]}, or a folder that holds some")
    every = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    found = [one for one in every if any(fnmatch(one.name, like) for like in patterns)]
    # macOS leaves a companion ._x beside a file x on foreign disks.
    found = [one for one in found if not one.name.startswith("._")]
    if not found:
        raise InputError(f"{path} is, or holds, no file {' or '.join(patterns)}")
    return found


def named(files: Iterable[Path]) -> list[tuple[str, Path]]:
    """Files by their name without its ending; with their folders' names, as far as it takes to be unique."""
    listed = list(files)
    for depth in range(1, 20):
        names = ["/".join([*one.resolve().parts[-depth:-1], _short(one)]) for one in listed]
        if len(set(names)) == len(names):
            break
    return list(zip(names, listed, strict=True))


def _short(path: Path) -> str:
    stem = path.name.split(".fif")[0].replace("_split-01", "")
    return stem[:-4] if stem[-4:-3] in "-_" else stem


def _stimuli(head: Path, found: Any, table: pd.DataFrame, column: str | None) -> tuple[list[str], str]:
    """The stimulus of each epoch, "" for none, and where that is told."""
    if column is None:
        column = next((one for one in STIMULUS_COLUMNS if one in table), "event")
    if column != "event":
        if column not in table:
            raise InputError(
                f"{head}: its table of trials has no column {column!r}; it has {list(table)[:20]}"
            )
        where = f"column {column!r} of its table of trials"
        return stimulus_ids(head, where, table[column]), where
    names = {code: name for name, code in found.event_id.items()}
    codes = found.events[:, 2].tolist()
    if len(names) < len(found.event_id) or set(codes) - set(names):
        raise InputError(f"{head}: its names of events do not tell the codes apart: {found.event_id}")
    return [names[one] for one in codes], "names of its events"


def _averages(path: Path) -> list[Any]:
    """Every average of a file, without its values. Raises InputError."""
    found: list[Any] = []
    while (one := _average(path, len(found))) is not None:
        if np.iscomplexobj(one.data):
            raise InputError(f"{path}: {one.comment!r} has complex values; wanted real ones")
        head = one.copy()
        head.data = one.data[:0]
        found.append(head)
    if not found:
        raise InputError(f"{path} holds no averages")
    return found


def _average(path: Path, number: int) -> Any:
    """One average, or None where the file has no more. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} is gone")
    return _kept(path, path.stat().st_size, path.stat().st_mtime_ns, number)


@lru_cache(maxsize=8)
def _kept(path: Path, size: int, changed: int, number: int) -> Any:  # noqa: ARG001 - another file, another entry
    """Some averages stay, since types of channels lie in the same ones and a packed file is slow to search."""
    with told(path, "MNE averages"):
        try:
            return mne.Evoked(path, condition=number, proj=False, verbose="error")
        except ValueError as error:
            if number and "out of range" in str(error):
                return None
            raise


def _cube(
    values: Any,
    one: Sensors,
    time: Any,
    stimuli: Sequence[str],
    sources: Iterable[Path],
    coords: Any,
    attrs: Mapping[str, Any],
    dropped: Mapping[str, int],
) -> xr.DataArray:
    return cube_of(
        values,
        one.spec,
        stimuli=stimuli,
        units=one.names,
        time=time,
        coords=coords,
        sources=sources,
        attrs={**one.attrs, "dataset": DATASET, **attrs},
        dropped=dropped,
    )


EPOCHS_READER: Final = Reader(
    "mne-epochs",
    "Epochs of MEG or EEG that MNE saved, split or not; the stimulus by table of trials or name of event.",
    EPOCHS[:1],
    read_epochs,
)
EVOKED_READER: Final = Reader(
    "mne-evoked", "Averages (evoked) of MEG or EEG that MNE saved, by condition.", EVOKED[:1], read_evoked
)
