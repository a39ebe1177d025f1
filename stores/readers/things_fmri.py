"""THINGS-fMRI: one GLM amplitude per voxel and trial, three people. Hebart et al. (2023), eLife 12:e82580.

As tables: `sub-01_ResponseData.h5` (voxel x trial) and two CSV files; `things_fmri_volumes` reads the NIfTI
files. 8,640 images were shown once (`train`) and 100 were shown 12 times (`test`). Pandas wrote the HDF5 file
and left pickles beside the numbers, which are never touched. A block is a stripe of voxels, contiguous in the
file, which is read once for `train` and `test` together.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of
from stores.readers.files import find
from stores.readers.hdf5 import loaded, opened
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.slabs import single, stored
from stores.readers.tables import integers, number_table, read_table
from stores.readers.things_stems import concept_of, stem_of
from stores.readers.trials import (
    PIECE_BYTES,
    TRIALS,
    ByUnit,
    Chunks,
    Indices,
    Piece,
    Presented,
    TrialReader,
    beside,
    blocks,
    presented,
)
from stores.specs import FMRI

DATASET: Final = "things-fmri"
RESPONSES: Final = "sub-01_ResponseData.h5"
ATTRS: Final = {"quantity": "GLM amplitude", "units": "a.u.", "dataset": DATASET}
MEASURES: Final[Mapping[str, str]] = {
    "voxel_x": "x",
    "voxel_y": "y",
    "voxel_z": "z",
    "nc_singletrial": "nc_singletrial",
    "nc_testset": "nc_testset",
    "splithalf_uncorrected": "splithalf_uncorrected",
    "splithalf_corrected": "splithalf_corrected",
    "prf-eccentricity": "prf_eccentricity",
    "prf-polarangle": "prf_polarangle",
    "prf-rsquared": "prf_rsquared",
    "prf-size": "prf_size",
}
"""Columns of numbers in VoxelMetadata and what they are called here; all others are regions, of 0 and 1."""
TRIAL_COLUMNS: Final = ("trial_type", "session", "run", "trial_id", "stimulus")
SPLITS: Final = ("train", "test")


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`sub-01/train`, `sub-01/test`, ... from the folder `betas_csv`, the one above, or one ResponseData file."""
    path = Path(path).expanduser()
    folders = (path, path / "betas_csv")
    files = (
        [path]
        if path.is_file()
        else [one for f in folders for one in sorted(f.glob("sub-*_ResponseData.h5"))]
    )
    found: dict[str, xr.DataArray] = {}
    for file in files or [find(path, RESPONSES)]:
        subject = file.name.split("_")[0]
        found |= {f"{subject}/{split}": cube for split, cube in table(file).items()}
    return found


def table(path: Path) -> dict[str, xr.DataArray]:
    """`train` and `test` of one person: (stimulus, voxel, 0 s, repeat), from ResponseData and its two tables.

    Voxels carry x, y, z (voxel indices), overlapping masks `roi_V1`, `roi_glasser-V1`, ..., noise ceilings in
    percent (0: none), reliabilities and receptive fields; presentations carry trial, trial_session, trial_run.
    Raises InputError.
    """
    subject = path.name.split("_")[0]
    trials_file = find(path.parent, f"{subject}_StimulusMetadata.csv")
    voxels_file = find(path.parent, f"{subject}_VoxelMetadata.csv")
    trials = _trials(trials_file)
    voxels = number_table(voxels_file, ["voxel_id", "voxel_x", "voxel_y", "voxel_z"])
    with opened(path) as file:
        tables = f"{voxels_file.name} and {trials_file.name}"
        name = _responses(path, file, (len(voxels), len(trials)), tables)
        ids = _voxel_ids(path, file, len(voxels))
    if not np.array_equal(ids, voxels["voxel_id"].to_numpy()):
        raise InputError(f"{voxels_file}: voxel_id has other values or another order than {path.name}")
    coords = voxel_coords(voxels_file, voxels)
    units = [f"v{one:06d}" for one in ids]
    found: dict[str, xr.DataArray] = {}
    chunks: Chunks | None = None
    for split in SPLITS:
        rows = trials[trials["trial_type"] == split]
        shown = presented(rows["stem"], rows["trial_id"])
        values = TrialReader(VoxelRows(path, name), shown.trials)
        shape = (len(shown.stimuli), len(units), 1, shown.trials.shape[1])
        if chunks is None:
            chunks = blocks(shape, np.float32, whole=[STIMULUS, REPEAT], slow=UNIT)
        else:  # whose values lie among the others'
            chunks = beside(chunks, shape)
        facts = dict(coords)
        for theirs in ("session", "run"):
            by_trial = trials.set_index("trial_id")[theirs].sort_index().to_numpy()
            facts[f"trial_{theirs}"] = shown.coord(by_trial)
        found[split] = fmri_cube(
            from_blocks(values, chunks, np.float32),
            shown,
            split,
            units,
            facts,
            subject,
            [path, trials_file, voxels_file],
            {"trials of another type": int((~trials["trial_type"].isin(SPLITS)).sum())},
        )
        found[split].encoding[TRIALS] = values
    return found


def fmri_cube(
    values: Any,
    shown: Presented,
    split: str,
    units: list[str],
    coords: Mapping[str, Any],
    subject: str,
    sources: list[Path],
    dropped: Mapping[str, int],
) -> xr.DataArray:
    """A cube of this dataset; `coords` are added to concept, split and trial."""
    return cube_of(
        values,
        FMRI,
        stimuli=shown.stimuli,
        units=units,
        coords={
            **coords,
            "concept": (STIMULUS, [concept_of(one) for one in shown.stimuli]),
            "split": (STIMULUS, [split] * len(shown.stimuli)),
            "trial": ((STIMULUS, REPEAT), shown.trials),
        },
        sources=sources,
        attrs={**ATTRS, "subject": subject},
        dropped=dropped,
    )


def voxel_coords(path: Path, voxels: pd.DataFrame) -> dict[str, Any]:
    """Coordinates of the voxels: measures as numbers, everything else as masks of regions. Raises InputError."""
    found: dict[str, Any] = {}
    for column in voxels.columns:
        if column in ("voxel_id", "subject_id"):
            continue
        values = voxels[column].to_numpy()
        if values.dtype.kind not in "fib" or np.isinf(values.astype(np.float64)).any():
            raise InputError(f"{path}: {column!r} holds something other than finite numbers")
        if column in MEASURES:
            found[MEASURES[column]] = (UNIT, values)
            continue
        if not np.isin(values, (0, 1)).all():
            raise InputError(f"{path}: region {column!r} holds values other than 0 and 1")
        name = f"roi_{clean(column)}"
        if name in found:
            raise InputError(f"{path} has two regions named {clean(column)!r}")
        found[name] = (UNIT, values.astype(bool))
    return found


def clean(column: str) -> str:
    r"""`glasser-p9-\n46v` -> `glasser-p9-46v`, `LO1 (prf)` -> `LO1_prf`: two headers hold a line feed."""
    return re.sub(r"\s+", "_", re.sub(r"\s*\n\s*|[()]", "", column).strip())


def _trials(path: Path) -> pd.DataFrame:
    """Rows of StimulusMetadata in the order of presentation, with `stem`. Raises InputError."""
    found = read_table(path, TRIAL_COLUMNS)
    for column in ("session", "run", "trial_id"):
        found[column] = integers(path, found, column)
    if not np.array_equal(np.sort(found["trial_id"]), np.arange(len(found))):
        raise InputError(
            f"{path}: trial_id is not each of 0 to {len(found) - 1} once; it numbers the responses"
        )
    absent = [split for split in SPLITS if split not in set(found["trial_type"])]
    if absent:
        raise InputError(
            f"{path}: trial_type is never {absent[0]!r}; it is {sorted(set(found['trial_type']))[:5]}"
        )
    kept = found["trial_type"].isin(SPLITS)
    try:
        found["stem"] = [
            stem_of(one) if keep else "" for one, keep in zip(found["stimulus"], kept, strict=True)
        ]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if both := set(found.loc[found["trial_type"] == "train", "stem"]) & set(
        found.loc[found["trial_type"] == "test", "stem"]
    ):
        raise InputError(f"{path}: {len(both)} images are of both train and test, such as {min(both)!r}")
    return found.sort_values(["session", "run", "trial_id"], ignore_index=True)


def _responses(path: Path, file: h5py.File, shape: tuple[int, int], tables: str) -> str:
    """The name of the one block of numbers with this shape, whatever pandas called it. Raises InputError."""
    there = {name: file[name] for name in _datasets(file)}
    floats = {name: one.shape for name, one in there.items() if one.dtype.kind == "f"}
    names = [name for name, size in floats.items() if size == shape]
    if len(names) != 1:
        raise InputError(
            f"{path} has {len(names)} blocks of real numbers of shape {shape}, as {tables} tell; "
            f"it has {floats or 'none'}"
        )
    stored(path, file, names[0], ndim=2)
    return names[0]


def _voxel_ids(path: Path, file: h5py.File, count: int) -> NDArray[np.int64]:
    names = [
        name
        for name in _datasets(file)
        if name.endswith("_values") and file[name].dtype.kind == "i" and file[name].shape == (count, 1)
    ]
    if len(names) != 1:
        raise InputError(f"{path} has {len(names)} blocks of {count} whole numbers; wanted one, of voxel_id")
    ids = loaded(path, file, names[0], ndim=2, kinds="i").ravel().astype(np.int64)
    if len(np.unique(ids)) != count or ids.min() < 0:
        raise InputError(f"{path}: {names[0]}, of voxel_id, holds negative or repeated ids")
    return ids


def _datasets(file: h5py.File) -> list[str]:
    """Full names of the datasets one group deep, where pandas puts them."""
    groups = [name for name in file if isinstance(file[name], h5py.Group)]
    return [f"{g}/{name}" for g in groups for name in file[g] if isinstance(file[g][name], h5py.Dataset)]


READER: Final = Reader(
    "things-fmri",
    "Single-trial fMRI amplitudes of three people to 8,740 THINGS images, as tables. Hebart et al. (2023).",
    (RESPONSES, "sub-01_StimulusMetadata.csv", "sub-01_VoxelMetadata.csv"),
    read,
)


@dataclass(frozen=True)
class VoxelRows(ByUnit):
    """A dataset (unit, trial), read in stripes of whole rows."""

    path: Path
    name: str

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:  # noqa: ARG002
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        with opened(self.path) as file:
            found = file[self.name]
            step = max(1, PIECE_BYTES // (found.dtype.itemsize * found.shape[1]))
            for start in range(units.start, units.stop, step):
                stop = min(start + step, units.stop)
                values = single(self.path, self.name, found[start:stop])
                where = slice(start - units.start, stop - units.start)
                yield slice(None), where, slice(0, 1), values.take(trials, axis=1).T[:, :, None]
