"""Majaj, Hong et al. (2015): 256 multi-unit sites of macaque V4 and IT, to objects on natural backgrounds.

A netCDF4 file, which is HDF5: one variable (neuroid, presentation, time_bin), in whatever order of axes, and a
variable along one axis for every level of the indexes that were reset to write it. Attributes `DIMENSION_LIST`
tell which axis is which. A presentation is an image and a repetition: there are 28 repetitions of the images
without variation, and about 50 of the others. `public` holds variation 0 and 3, `private` 6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import hdf5_heaps
from stores.readers.cubes import Labels, cube_of, texts, unique
from stores.readers.hdf5 import opened
from stores.readers.lazy import finite, from_blocks, plausible
from stores.readers.presentations import labels
from stores.readers.reader import Reader
from stores.readers.slabs import single, stored, stretches
from stores.readers.trials import Indices, Presented, TrialReader, blocks, presented
from stores.specs import MUA

DATASET: Final = "majaj_hong2015"
PATTERN: Final = "*MajajHong2015*.nc"
PRESENTATION, NEUROID, TIME_BIN = AXES = ("presentation", "neuroid", "time_bin")
IMAGE_IDS: Final = ("stimulus_id", "image_id")
BINS: Final = ("time_bin_start", "time_bin_end")
SPLITS: Final[Mapping[int, str]] = {0: "public", 3: "public", 6: "private"}
REGIONS: Final = ("V4", "IT")
OURS: Final[Mapping[str, str]] = {"category_name": "category", "arr": "array"}
Columns = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Sites:
    """The variable `name` of a file; `order` are its axes of presentation, neuroid and time.

    fill : the number that stands for a missing one; it becomes NaN.
    """

    path: Path
    name: str
    order: tuple[int, int, int]
    fill: float

    def __call__(
        self, trials: Indices, units: slice, times: slice
    ) -> Iterator[tuple[slice, slice, slice, NDArray[Any]]]:
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        row_bytes = 4 * (units.stop - units.start) * (times.stop - times.start)
        with opened(self.path) as file:
            found = file[self.name]
            for first, last in stretches(trials, row_bytes):
                low, high = int(trials[first]), int(trials[last - 1]) + 1
                wanted = dict(zip(self.order, (slice(low, high), units, times), strict=True))
                block = found[wanted[0], wanted[1], wanted[2]].transpose(self.order)
                values = single(self.path, self.name, block[trials[first:last] - low])
                values = np.where(values == self.fill, np.float32(np.nan), values)
                yield slice(first, last), slice(None), slice(None), values


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`public` and `private`, as far as their files are there: from one file, or a folder that holds them.

    A stimulus is the image's id, a repeat its repetition, in order; NaN where an image has no more of them. Times
    are the centres of bins, with `bin_start` and `bin_stop`, seconds. Everything else that the file tells of
    neuroids is on units, of images on stimuli, of presentations on both stimuli and repeats. Raises InputError.
    """
    found: dict[str, xr.DataArray] = {}
    for file in _files(Path(path).expanduser()):
        split, cube = _cube(file)
        if split in found:
            raise InputError(f"{file} holds the {split} images a second time")
        found[split] = cube
    return found


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file {PATTERN}, or the folder that holds it")
    found = [path] if path.is_file() else sorted(path.glob(PATTERN))
    if not found:
        raise InputError(f"{path} holds no file {PATTERN}, such as assy_dicarlo_MajajHong2015_public.nc")
    return found


def _cube(path: Path) -> tuple[str, xr.DataArray]:
    hdf5_heaps.check(path)
    with opened(path) as file:
        name, order = _variable(path, file)
        fill = float(np.ravel(file[name].attrs.get("_FillValue", np.nan))[0])
        shape = stored(path, file, name, ndim=3).shape
        columns, left = _columns(path, file, dict(zip(AXES, order, strict=True)), shape)
    ids = _column(path, columns, PRESENTATION, *IMAGE_IDS)
    shown = _shown(path, texts(ids), _column(path, columns, PRESENTATION, "repetition"))
    split = _split(path, columns)
    time, edges = _times(path, columns)
    sites = [str(one) for one in _column(path, columns, NEUROID, "neuroid_id")]
    units = {OURS.get(key, key): one for key, one in columns[NEUROID].items() if key != "neuroid_id"}
    about = {key: one for key, one in columns[PRESENTATION].items() if key not in IMAGE_IDS}
    size = (len(shown.stimuli), len(sites), len(time), shown.trials.shape[1])
    chunks = blocks(size, np.float32, whole=[STIMULUS, REPEAT], slow=UNIT)
    cube = cube_of(
        from_blocks(TrialReader(Sites(path, name, order, fill), shown.trials), chunks, np.float32),
        MUA,
        stimuli=shown.stimuli,
        units=unique(path, "neuroid_id", sites),
        time=time,
        sources=[path],
        attrs={
            "quantity": "multi-unit response",
            "units": "a.u.",
            "dataset": DATASET,
            "subject": ", ".join(sorted(set(texts(units["animal"])))) if "animal" in units else "pooled",
        },
        coords={
            **labels(shown, {OURS.get(key, key): one for key, one in about.items()}),
            "split": (STIMULUS, texts([split] * len(shown.stimuli))),
            **{key: (UNIT, one) for key, one in units.items()},
            **edges,
        },
        dropped={f"variable {one}, along no axis of {name}": 1 for one in left},
    )
    return split, cube


def _variable(path: Path, file: h5py.File) -> tuple[str, tuple[int, int, int]]:
    """The one variable with all three axes, and the places of presentation, neuroid and time."""
    found = {}
    for name, one in file.items():
        if isinstance(one, h5py.Dataset) and one.ndim == 3:
            axes = _axes(path, file, one)
            if sorted(axes) == sorted(AXES):
                found[name] = axes
    if len(found) != 1:
        raise InputError(
            f"{path} has {len(found)} variables along {', '.join(AXES)}; wanted one. It has {', '.join(file)}"
        )
    name, axes = next(iter(found.items()))
    return name, (axes.index(PRESENTATION), axes.index(NEUROID), axes.index(TIME_BIN))


def _axes(path: Path, file: h5py.File, one: h5py.Dataset) -> tuple[str, ...]:
    """Names of a variable's dims; none where it does not tell them."""
    listed = one.attrs.get("DIMENSION_LIST")
    if listed is None:
        return ()
    if len(listed) != one.ndim or any(len(refs) != 1 for refs in listed):
        raise InputError(f"{path}: DIMENSION_LIST of {one.name} does not name one dim for each axis")
    return tuple(str(file[refs[0]].name).strip("/") for refs in listed)


def _columns(
    path: Path, file: h5py.File, order: Mapping[str, int], shape: tuple[int, ...]
) -> tuple[Columns, list[str]]:
    """What lies along each axis, by axis and name, and the names of variables that lie along none."""
    found: dict[str, dict[str, NDArray[Any]]] = {axis: {} for axis in AXES}
    left = []
    for name, one in file.items():
        if name in AXES or not isinstance(one, h5py.Dataset) or one.ndim == 3:
            continue
        axes = _axes(path, file, one)
        if one.ndim != 1 or len(axes) != 1 or axes[0] not in AXES:
            left.append(name)
            continue
        if len(one) != shape[order[axes[0]]]:
            raise InputError(f"{path}: {name} has {len(one)} values; {axes[0]} has {shape[order[axes[0]]]}")
        found[axes[0]][name] = _values(path, name, one)
    return found, left


def _values(path: Path, name: str, one: h5py.Dataset) -> NDArray[Any]:
    plausible(path, name, one.shape, one.dtype.itemsize, loaded=True)
    if h5py.check_string_dtype(one.dtype) is not None:
        return texts(one.asstr()[()])
    values = np.asarray(one[()])
    if values.dtype.kind not in "fiub":
        raise InputError(f"{path}: {name} is {one.dtype}; wanted text or numbers")
    return finite(path, name, values.astype(values.dtype.newbyteorder("=")))


def _column(path: Path, columns: Columns, axis: str, *names: str) -> NDArray[Any]:
    for name in names:
        if name in columns[axis]:
            return columns[axis][name]
    raise InputError(
        f"{path} has no variable {' or '.join(names)} along {axis}; it has {', '.join(columns[axis]) or 'none'}"
    )


def _shown(path: Path, ids: NDArray[Any], repetition: NDArray[Any]) -> Presented:
    """Presentations by image, in order of repetition, whatever the order of the file."""
    if (
        repetition.dtype.kind not in "fiu"
        or (repetition != np.round(repetition)).any()
        or (repetition < 0).any()
    ):
        raise InputError(f"{path}: repetition is {repetition.dtype}, or not all whole numbers from 0")
    if (ids == "").any():
        raise InputError(f"{path}: {int((ids == '').sum())} presentations have no image's id")
    order = np.argsort(repetition, kind="stable")
    shown = presented(ids[order], order)
    for stimulus, trials in zip(shown.stimuli, shown.trials, strict=True):
        there = repetition[trials[trials >= 0]]
        if (np.diff(there) == 0).any():
            again = int(there[np.flatnonzero(np.diff(there) == 0)[0]])
            raise InputError(f"{path}: repetition {again} of the image {stimulus} is there twice")
    return shown


def _split(path: Path, columns: Columns) -> str:
    variation = _column(path, columns, PRESENTATION, "variation")
    there = {SPLITS.get(one, "") for one in np.unique(variation).tolist()}
    regions = set(texts(_column(path, columns, NEUROID, "region")))
    if "" in there or not regions <= set(REGIONS):
        raise InputError(
            f"{path}: variation is one of {np.unique(variation).tolist()[:8]}, region of {sorted(regions)[:8]}; "
            f"wanted {list(SPLITS)} and {list(REGIONS)}. Is it of another dataset?"
        )
    return "+".join(sorted(there, reverse=True))


def _times(path: Path, columns: Columns) -> tuple[NDArray[np.float64], Labels]:
    """Centres of the bins and their edges, in seconds; the file has milliseconds."""
    start, stop = (_column(path, columns, TIME_BIN, name).astype(np.float64) / 1000 for name in BINS)
    if np.isnan(start).any() or np.isnan(stop).any() or (start >= stop).any() or (np.diff(start) <= 0).any():
        raise InputError(f"{path}: {' and '.join(BINS)} are no bins of time that follow each other")
    return np.round((start + stop) / 2, 9), {"bin_start": (TIME, start), "bin_stop": (TIME, stop)}


READER: Final = Reader(
    DATASET,
    "Multi-unit activity of V4 and IT to objects on backgrounds, two macaques. Majaj, Hong et al. (2015).",
    (PATTERN,),
    read,
)
