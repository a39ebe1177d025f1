"""TVSD, the THINGS ventral stream spiking dataset: multi-unit activity of V1, V4 and IT in two macaques.

Papale, Wang, Self & Roelfsema (2025), Neuron. 16 arrays of 64 electrodes; 22,248 training images shown once
and 100 test images 30 times. `THINGS_normMUA.mat` has one number per electrode and presentation, in physical
order; `THINGS_MUA_trials.mat` has 300 ms of each in the order of recording, and `1024chns_mapping` leads from
that to the physical order. Electrode ids, `e0001` ..., are physical; regions lie on physical electrodes only.
"""

import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of
from stores.readers.files import find, load_mat
from stores.readers.hdf5 import loaded, opened
from stores.readers.hdf5_texts import texts_of, vector
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.slabs import Rows, stored
from stores.readers.things_stems import concept_of, stem_of
from stores.readers.trials import Presented, TrialReader, blocks, presented
from stores.specs import MUA

DATASET: Final = "tvsd"
NORM_FILE: Final = "THINGS_normMUA.mat"
TRIALS_FILE: Final = "THINGS_MUA_trials.mat"
IMAGES_FILE: Final = "things_imgs.mat"
MAPPING_FILE: Final = "1024chns_mapping_20220105.mat"
ELECTRODES: Final = 1024
REGIONS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "N": (("V1", 512), ("V4", 256), ("IT", 256)),
    "F": (("V1", 512), ("IT", 320), ("V4", 192)),
}
"""Regions of the physical electrodes, in order: V4 and IT change places between the monkeys."""
COLUMNS: Final = {6: None, 7: 5}
"""How many columns ALLMAT may have, and which of them says that a trial was correct; the day is the last."""
_MONKEY: Final = re.compile(r"monkey_?(?P<monkey>[A-Z])(?![a-z])", re.IGNORECASE)


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`monkeyF/train`, `monkeyF/test` and, where its file is there, `monkeyF/trials/train`, `.../test`.

    path : the folder that holds `monkeyF` and `monkeyN`, or one of these.
    """
    path = Path(path).expanduser()
    folders = [path] if path.is_dir() and _named(path.name) else sorted(path.glob("monkey[A-Z]"))
    if not folders:
        raise InputError(
            f"{find(path, f'monkeyF/{NORM_FILE}')} is no folder of TVSD; wanted that of a monkey"
        )
    found: dict[str, xr.DataArray] = {}
    for folder in folders:
        monkey, images = _named(folder.name), find(folder, f"_logs/{IMAGES_FILE}")
        found |= _prefixed(folder.name, norm(find(folder, NORM_FILE), images, monkey))
        if (folder / TRIALS_FILE).exists():
            mapping = find(folder, f"_logs/{MAPPING_FILE}")
            found |= _prefixed(f"{folder.name}/trials", trials(folder / TRIALS_FILE, images, mapping, monkey))
    return found


def norm(path: Path, images: Path, monkey: str) -> dict[str, xr.DataArray]:
    """`train` and `test` of normMUA, z-scored by day: (stimulus, electrode, 0 s, repeat).

    images : things_imgs.mat.    monkey : "F" or "N".
    Electrodes carry region, array, snr_max, oracle, reliability (mean r over all pairs of test repeats, NaN
    where an electrode has none), and snr and latency (`lats`) of each day.
    Raises InputError, also where a path names the other monkey.
    """
    coords = regions(monkey, path, images)
    stems = {split: _stems(images, f"{split}_imgs") for split in ("train", "test")}
    with opened(path) as file:
        train = stored(path, file, "train_MUA", ndim=2).shape
        test = stored(path, file, "test_MUA_reps", ndim=3).shape
        _same(path, "train_MUA", train, (len(stems["train"]), ELECTRODES))
        _same(path, "test_MUA_reps", test, (test[0], len(stems["test"]), ELECTRODES))
        coords |= _quality(path, file, test[0])
    attrs = {"quantity": "multi-unit activity", "units": "z", "window": "V1 25-125, V4 50-150, IT 75-175 ms"}
    shown = {
        "train": ("train_MUA", presented(stems["train"], range(train[0]))),
        "test": ("test_MUA_reps", presented(stems["test"] * test[0], range(test[0] * test[1]))),
    }
    return {
        split: _cube(Rows(path, name), one, split, monkey, [0.0], coords, attrs, [path, images], {})
        for split, (name, one) in shown.items()
    }


def trials(path: Path, images: Path, mapping: Path, monkey: str) -> dict[str, xr.DataArray]:
    """`train` and `test` of single trials: (stimulus, electrode, 300 ms, repeat), electrodes in physical order.

    mapping : 1024chns_mapping; physical electrode e is ``ALLMUA[mapping[e] - 1]``.
    Presentations carry trial, trial_day and trial_count (place in the sequence of four images). One block is
    one moment, where ALLMUA is contiguous. Wrong responses and images never shown are counted as dropped.
    """
    coords = regions(monkey, path, images, mapping)
    order = _mapping(mapping)
    with opened(path) as file:
        shape = stored(path, file, "ALLMUA", ndim=3).shape
        table = loaded(path, file, "ALLMAT", ndim=2)
        time = np.round(vector(path, file, "tb").astype(np.float64) / 1000, 6)
    _same(path, "ALLMUA", shape, (len(time), table.shape[1], ELECTRODES))
    coords["recorded"] = (UNIT, order)
    correct, dropped = _correct(path, table)
    found = {}
    attrs = {"quantity": "multi-unit activity", "units": "a.u."}
    for split, column in (("train", 1), ("test", 2)):
        stems = _stems(images, f"{split}_imgs")
        rows = np.flatnonzero((table[column] > 0) & correct)
        if not len(rows):
            raise InputError(f"{path}: ALLMAT has no trial of the {split} images")
        index = _indices(path, f"{split}_idx", table[column, rows], len(stems))
        shown = presented([stems[i] for i in index], rows.tolist())
        never = {f"{split} images never shown": len(stems) - len(shown.stimuli)}
        found[split] = _cube(
            Rows(path, "ALLMUA", order, times=True),
            shown,
            split,
            monkey,
            time,
            coords
            | {"trial_day": shown.coord(table[-1].astype(np.int64))}
            | {"trial": shown.coord(np.arange(table.shape[1]))}
            | {"trial_count": shown.coord(table[4].astype(np.int64))},
            attrs,
            [path, images, mapping],
            dropped | never,
        )
    return found


def regions(monkey: str, *paths: Path) -> dict[str, Any]:
    """Region and array of the physical electrodes. InputError where a path names the other monkey."""
    if monkey not in REGIONS:
        raise InputError(f"there is no monkey {monkey!r} in this dataset; choose one of {sorted(REGIONS)}")
    for path in paths:
        if (other := _named(str(path.absolute()))) not in ("", monkey):
            raise InputError(f"{path} is of monkey {other}, but the regions asked for are those of {monkey}")
    labels = [region for region, count in REGIONS[monkey] for _ in range(count)]
    return {
        "region": (UNIT, np.array(labels, object)),
        "array": (UNIT, np.arange(ELECTRODES) // 64 + 1),
        "channel": (UNIT, np.arange(ELECTRODES) + 1),
    }


def _cube(
    pieces: Rows,
    shown: Presented,
    split: str,
    monkey: str,
    time: Any,
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
    sources: list[Path],
    dropped: Mapping[str, int],
) -> xr.DataArray:
    count, repeats = shown.trials.shape
    shape, slow = (count, ELECTRODES, len(time), repeats), TIME if pieces.times else STIMULUS
    chunks = blocks(shape, np.float32, whole=[UNIT], slow=slow)
    return cube_of(
        from_blocks(TrialReader(pieces, shown.trials), chunks, np.float32),
        MUA,
        stimuli=shown.stimuli,
        units=[f"e{n:04d}" for n in range(1, ELECTRODES + 1)],
        time=time,
        coords={
            **coords,
            "concept": (STIMULUS, [concept_of(one) for one in shown.stimuli]),
            "split": (STIMULUS, [split] * count),
        },
        sources=sources,
        attrs={**attrs, "dataset": DATASET, "subject": f"monkey{monkey}"},
        dropped=dropped,
    )


def _quality(path: Path, file: h5py.File, repeats: int) -> dict[str, Any]:
    reliab = loaded(path, file, "reliab", ndim=2, kinds="f")
    _same(path, "reliab", reliab.shape, (repeats * (repeats - 1) // 2, ELECTRODES))
    if np.isnan(reliab).all() or np.isinf(reliab).any():
        raise InputError(f"{path}: reliab has no electrode with a reliability, or an infinite one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a dead electrode has none: its mean is NaN
        found: dict[str, Any] = {"reliability": (UNIT, np.nanmean(reliab, axis=0))}
    for ours, theirs in (("snr_max", "SNR_max"), ("oracle", "oracle")):
        found[ours] = (UNIT, _electrodes(path, theirs, vector(path, file, theirs)))
    for ours, theirs in (("snr", "SNR"), ("lats", "lats")):
        for day, values in enumerate(loaded(path, file, theirs, ndim=2), start=1):
            found[f"{ours}_day{day}"] = (UNIT, _electrodes(path, theirs, values))
    return found


def _electrodes(path: Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
    _same(path, name, values.shape, (ELECTRODES,))
    return values


def _stems(path: Path, name: str) -> list[str]:
    """File stems of one set of images, in the order that the indices count. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path} is no file; wanted {IMAGES_FILE}")
    stamp = path.stat()
    return list(_read_stems(path, name, stamp.st_size, stamp.st_mtime_ns))


@lru_cache(maxsize=8)  # 22,248 references take many seconds to follow, and every cube needs them
def _read_stems(path: Path, name: str, size: int, changed: int) -> tuple[str, ...]:  # noqa: ARG001 - of the key
    with opened(path) as file:
        spelt = texts_of(path, file, f"{name}/things_path")
    try:
        stems = [stem_of(one) for one in spelt]
    except InputError as error:
        raise InputError(f"{path}: {name}.things_path: {error}") from error
    if len(set(stems)) != len(stems):
        raise InputError(f"{path}: {name}.things_path has {len(stems) - len(set(stems))} repeated images")
    return tuple(stems)


def _mapping(path: Path) -> NDArray[np.int64]:
    """Column of each physical electrode in the recording, from 0; from a row or a column, counted from 1."""
    found = np.ravel(load_mat(path, ["mapping"])["mapping"])
    if found.dtype.kind not in "fiu" or not np.array_equal(np.sort(found), np.arange(1, ELECTRODES + 1)):
        raise InputError(
            f"{path}: mapping has {found.size} entries of {found.dtype}; wanted each of 1 to {ELECTRODES} once"
        )
    return found.astype(np.int64) - 1


def _correct(path: Path, table: NDArray[Any]) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which trials count, and how many do not. `table` is (column, trial). Raises InputError."""
    if len(table) not in COLUMNS or not np.isfinite(table).all():
        raise InputError(
            f"{path}: ALLMAT has {len(table)} columns, or values that are no numbers; wanted "
            "trial_idx, train_idx, test_idx, rep, count, [correct,] day"
        )
    if ((table[1] > 0) == (table[2] > 0)).any():
        bad = int(np.flatnonzero((table[1] > 0) == (table[2] > 0))[0])
        raise InputError(f"{path}: trial {bad + 1} of ALLMAT is not of either a train or a test image")
    column = COLUMNS[len(table)]
    correct = np.ones(table.shape[1], bool) if column is None else table[column] > 0
    return correct, {"trials with a wrong response": int((~correct).sum())}


def _indices(path: Path, name: str, values: NDArray[Any], count: int) -> NDArray[np.int64]:
    if (values != np.round(values)).any() or values.max() > count:
        raise InputError(
            f"{path}: {name} of ALLMAT goes to {values.max():g}; wanted whole numbers to {count}"
        )
    return values.astype(np.int64) - 1


def _same(path: Path, name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if shape != wanted:
        raise InputError(
            f"{path}: {name} has MATLAB shape {shape[::-1]}; wanted {wanted[::-1]} "
            f"for {ELECTRODES} electrodes and the images of {IMAGES_FILE}"
        )


def _named(text: str) -> str:
    """The monkey that the last part of a path to name one names; "" where none does."""
    found = [match["monkey"].upper() for match in _MONKEY.finditer(text)]
    return found[-1] if found else ""


def _prefixed(prefix: str, cubes: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    return {f"{prefix}/{name}": cube for name, cube in cubes.items()}


READER: Final = Reader(
    "tvsd",
    "Multi-unit activity of 1,024 electrodes in V1, V4 and IT to THINGS images, two macaques. Papale et al. "
    "(2025).",
    (NORM_FILE, IMAGES_FILE),
    read,
)
