"""THINGS-MEG: epochs of 271 sensors at 200 Hz, -0.1 to 1.3 s, four people. Hebart et al. (2023).

Two layouts: `preprocessed_P1-epo.fif`, whose parts `-epo-1.fif` ... follow from it and are never opened by name
(each would be read on to the end again), and the MATLAB file `P1_cosmofile.mat`. 22,248 images were shown once
(`train`), 200 were shown in each of 12 sessions (`test`), and catch trials are dropped and counted. Values are z
scores against the baseline, though the FIF files say tesla. A block is some images of a FIF chain, where trials
are contiguous, or some time points of a CoSMo file, where those are; each is read once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, unique
from stores.readers.fif import FifTrials, chain, epochs_of
from stores.readers.files import find
from stores.readers.hdf5 import opened
from stores.readers.hdf5_texts import char, texts_of, vector
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.slabs import single, stored
from stores.readers.things_stems import concept_of, stem_of
from stores.readers.trials import (
    PIECE_BYTES,
    TRIALS,
    Chunks,
    Indices,
    Pieces,
    TrialReader,
    beside,
    blocks,
    presented,
)
from stores.specs import MEG

DATASET: Final = "things-meg"
FIF_FILE: Final = "preprocessed_P1-epo.fif"
COSMO_FILE: Final = "P1_cosmofile.mat"
SPLITS: Final[Mapping[str, str]] = {"train": "exp", "test": "test"}
CATCH: Final = "catch"
COLUMNS: Final = ("trial_type", "image_path", "things_image_nr", "session_nr", "run_nr")
_HEAD: Final = re.compile(r".*?(?P<subject>P\d+)-epo\.fif(\.gz)?")
_SENSOR: Final = re.compile(r"M(?P<side>[LRZ])(?P<part>[CFOPT])\d\d")
_PARTS: Final = {"C": "central", "F": "frontal", "O": "occipital", "P": "parietal", "T": "temporal"}


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`P1/train`, `P1/test`, ... from the FIF chains in this folder, or from one head file."""
    path = Path(path).expanduser()
    heads = [one for one in sorted(path.glob("preprocessed_P*-epo.fif")) if _HEAD.fullmatch(one.name)]
    found: dict[str, xr.DataArray] = {}
    for head in heads or [find(path, FIF_FILE)]:
        if not (match := _HEAD.fullmatch(head.name)):
            raise InputError(f"{head} is not the head of a chain of parts; wanted one named like {FIF_FILE}")
        found |= {f"{match['subject']}/{name}": cube for name, cube in fif(head, match["subject"]).items()}
    return found


def read_cosmo(path: Path) -> Mapping[str, xr.DataArray]:
    """`P1/train`, `P1/test`, ... from the CoSMo files in this folder, or from one."""
    path = Path(path).expanduser()
    files = sorted(path.glob("P*_cosmofile.mat")) or [find(path, COSMO_FILE)]
    return {f"{f.name.split('_')[0]}/{name}": cube for f in files for name, cube in cosmo(f).items()}


def fif(head: Path, subject: str) -> dict[str, xr.DataArray]:
    """`train` and `test`, (image, sensor, time, repeat), of one chain of FIF files. Raises InputError."""
    parts = chain(head)
    epochs = epochs_of(head, parts)
    table = epochs.metadata
    if table is None or len(table) != len(epochs):
        raise InputError(
            f"{head}: its {len(epochs)} epochs have no table of trials (metadata); wanted one row each"
        )
    table = table.reset_index(drop=True)
    trials = _checked(head, table)
    codes = epochs.events[:, 2]
    shown = (trials["trial_type"] != CATCH).to_numpy()
    if odd := np.flatnonzero(shown & (codes != trials["things_image_nr"].fillna(-1).to_numpy())).tolist():
        raise InputError(
            f"{head}: epoch {odd[0] + 1} has the event code {codes[odd[0]]}, but things_image_nr in its row of "
            f"trials is {trials['things_image_nr'].iloc[odd[0]]}: the rows are not those of the epochs"
        )
    places = np.array([one["loc"][:3] for one in epochs.info["chs"]], np.float64)
    coords = {axis: (UNIT, places[:, n]) for n, axis in enumerate("xyz")} if np.isfinite(places).all() else {}
    pieces = FifTrials(head, parts)
    return _cubes(
        pieces, trials, epochs.ch_names, epochs.times, coords, subject, list(parts), [UNIT, TIME], STIMULUS
    )


def cosmo(path: Path) -> dict[str, xr.DataArray]:
    """`train` and `test`, (image, sensor, time, repeat), of one CoSMo file. Raises InputError."""
    with opened(path) as file:
        channels, time = _dimensions(path, file)
        shape = stored(path, file, "ds/samples", ndim=2).shape
        fastest = np.indices((len(time), len(channels))).reshape(2, -1) + 1
        for name, wanted in (("time", fastest[0]), ("chan", fastest[1])):
            if not np.array_equal(vector(path, file, f"ds/fa/{name}"), wanted):
                raise InputError(f"{path}: ds.fa.{name} is not that of samples with time by time all sensors")
        table = pd.DataFrame(
            {
                name: texts_of(path, file, f"ds/sa/{name}")
                if name in ("trial_type", "image_path")
                else vector(path, file, f"ds/sa/{name}").astype(np.float64)
                for name in COLUMNS
            }
        )
    if shape != (len(time) * len(channels), len(table)):
        raise InputError(
            f"{path}: ds.samples is {shape[1]} x {shape[0]}; wanted {len(table)} trials x "
            f"{len(channels)} sensors times {len(time)} time points"
        )
    pieces, trials = CosmoRows(path, len(channels)), _checked(path, table)
    subject = path.name.split("_")[0]
    return _cubes(pieces, trials, channels, time, {}, subject, [path], [STIMULUS, REPEAT], TIME)


@dataclass(frozen=True)
class CosmoRows:
    """ds.samples, stored (time and sensor, trial), the sensor running fastest."""

    path: Path
    sensors: int

    def __call__(
        self, trials: Indices, units: slice, times: slice
    ) -> Iterator[tuple[slice, slice, slice, NDArray[Any]]]:
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        with opened(self.path) as file:
            found = file["ds/samples"]
            step = max(1, PIECE_BYTES // (found.dtype.itemsize * found.shape[1]))
            for n, moment in enumerate(range(times.start, times.stop)):
                for start in range(units.start, units.stop, step):
                    stop = min(start + step, units.stop)
                    rows = found[moment * self.sensors + start : moment * self.sensors + stop]
                    values = single(self.path, "ds.samples", rows)
                    where = slice(start - units.start, stop - units.start)
                    yield slice(None), where, slice(n, n + 1), values.T[trials][:, :, None]


def _cubes(
    pieces: Pieces,
    trials: pd.DataFrame,
    channels: Sequence[str],
    time: Any,
    coords: Mapping[str, Any],
    subject: str,
    sources: list[Path],
    whole: list[str],
    slow: str,
) -> dict[str, xr.DataArray]:
    catch = int((trials["trial_type"] == CATCH).sum())
    matches = [_SENSOR.match(one) for one in channels]
    if all(matches):
        coords = {
            **coords,
            "hemisphere": (
                UNIT,
                [{"L": "left", "R": "right", "Z": "midline"}[m["side"]] for m in matches if m],
            ),
            "region": (UNIT, [_PARTS[m["part"]] for m in matches if m]),
        }
    found: dict[str, xr.DataArray] = {}
    chunks: Chunks | None = None
    for split, kind in SPLITS.items():
        rows = trials[trials["trial_type"] == kind].sort_values(["session_nr", "run_nr"], kind="stable")
        shown = presented(rows["stem"], rows.index)
        shape = (len(shown.stimuli), len(channels), len(time), shown.trials.shape[1])
        if chunks is None or slow == STIMULUS:
            chunks = blocks(shape, np.float32, whole=whole, slow=slow)
        else:  # whose values lie among the others'
            chunks = beside(chunks, shape)
        values = TrialReader(pieces, shown.trials)
        numbers = trials["things_image_nr"].fillna(-1).to_numpy()[shown.trials[:, 0]]
        found[split] = cube_of(
            from_blocks(values, chunks, np.float32),
            MEG,
            stimuli=shown.stimuli,
            units=unique(sources[0], "its list of sensors", list(channels)),
            time=np.round(time, 6),
            coords={
                **coords,
                "channel": (UNIT, channels),
                "concept": (STIMULUS, [concept_of(one) for one in shown.stimuli]),
                "split": (STIMULUS, [split] * len(shown.stimuli)),
                "things_image_nr_paper": (STIMULUS, numbers.astype(np.int64)),
                "trial": ((STIMULUS, REPEAT), shown.trials),
                "trial_session": shown.coord(trials["session_nr"].fillna(-1).to_numpy().astype(np.int64)),
                "trial_run": shown.coord(trials["run_nr"].fillna(-1).to_numpy().astype(np.int64)),
            },
            sources=sources,
            attrs={"quantity": "magnetic field", "units": "z", "dataset": DATASET, "subject": subject},
            dropped={"catch trials": catch},
        )
        if slow != STIMULUS:
            found[split].encoding[TRIALS] = values
    return found


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table of trials with `stem`, "" for catch trials. Raises InputError."""
    if missing := [name for name in COLUMNS if name not in table]:
        raise InputError(
            f"{path}: its table of trials has no column {missing[0]!r}; it has {list(table)[:20]}"
        )
    found = table[list(COLUMNS)].copy()
    kinds = set(map(str, found["trial_type"]))
    if kinds - {CATCH} != set(SPLITS.values()):
        raise InputError(f"{path}: trial_type is one of {sorted(kinds)[:6]}; wanted exp, test and catch")
    for name in ("things_image_nr", "session_nr", "run_nr"):
        values = pd.to_numeric(found[name], errors="coerce")
        # Catch trials have no image number; everything else is a whole number.
        needed = values[found["trial_type"] != CATCH] if name == "things_image_nr" else values
        if not np.isfinite(needed).all() or (needed != needed.round()).any() or (needed.abs() > 1e9).any():
            raise InputError(
                f"{path}: {name} of its table of trials holds something other than whole numbers"
            )
        found[name] = values
    try:
        pairs = zip(found["image_path"], found["trial_type"], strict=True)
        found["stem"] = ["" if kind == CATCH else stem_of(str(one)) for one, kind in pairs]
    except InputError as error:
        raise InputError(f"{path}: image_path: {error}") from error
    by_type = {kind: set(found.loc[found["trial_type"] == kind, "stem"]) for kind in SPLITS.values()}
    if both := by_type["exp"] & by_type["test"]:
        raise InputError(f"{path}: {len(both)} images are of both exp and test trials, such as {min(both)!r}")
    return found


def _dimensions(path: Path, file: h5py.File) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the sensors and times, from the two cells of ds.a.fdim.values."""
    if "ds/a/fdim/values" not in file:
        raise InputError(f"{path} has no ds.a.fdim.values; it has {list(file)[:8]}")
    cells = file["ds/a/fdim/values"]
    if not isinstance(cells, h5py.Dataset) or cells.size != 2 or cells.dtype != h5py.ref_dtype:
        raise InputError(f"{path}: ds.a.fdim.values is no cell of sensors and times")
    names, times = (file[ref] for ref in cells[()].ravel())
    if names.dtype != h5py.ref_dtype or times.dtype.kind != "f":
        raise InputError(f"{path}: ds.a.fdim.values are not names of sensors and times")
    return [char(path, "ds.a.fdim.values", file[ref]) for ref in names[()].ravel()], times[()].ravel()


READER: Final = Reader(
    "things-meg",
    "MEG epochs of four people to 22,448 THINGS images, FIF files. Hebart et al. (2023).",
    (FIF_FILE,),
    read,
)
COSMO: Final = Reader(
    "things-meg-cosmo",
    "MEG epochs of four people to 22,448 THINGS images, CoSMoMVPA files. Hebart et al. (2023).",
    (COSMO_FILE,),
    read_cosmo,
)
