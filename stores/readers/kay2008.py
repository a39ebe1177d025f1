"""Kay et al. (2008): voxels of two people who saw 1,750 and 120 grey photographs, as CRCNS vim-1 publishes them.

`EstimatedResponses.mat` is a MATLAB 7.3 file, `Stimuli.mat` an older one; either may be in either format.
The files carry no names of images: a stimulus is `train0001` ..., its place (from 1) in `stimTrn`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.images import image_cube
from stores.provenance import file_record
from stores.readers.cubes import Labels, cube_of, texts
from stores.readers.files import find, load_mat
from stores.readers.hdf5 import Slices, dataset, loaded, opened
from stores.readers.lazy import Region, finite, lazy, plausible
from stores.readers.reader import Reader
from stores.specs import FMRI

DATASET: Final = "kay2008"
RESPONSES: Final = "EstimatedResponses.mat"
STIMULI: Final = "Stimuli.mat"
ROIS: Final = ("Other", "V1", "V2", "V3", "V3A", "V3B", "V4", "LatOcc")
VOLUME: Final = (64, 64, 18)
SPLITS: Final = {"train": "Trn", "test": "Val"}
SUBJECTS: Final = ("S1", "S2")


@dataclass(frozen=True)
class MatRows:
    """Region of an array that an older MATLAB file holds whole, (unit, stimulus)."""

    path: Path
    name: str
    dtype: str

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there, (stimulus, unit, 1, 1). Raises InputError."""
        values = np.asarray(load_mat(self.path, [self.name])[self.name])[where[1], where[0]].T
        values = finite(self.path, self.name, np.ascontiguousarray(values, dtype=self.dtype))
        return values[:, :, None, None]


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`S1/train`, `S1/test`, `S2/...` and `images/train`, `images/test`, from the folder with both files.

    Estimates are means over repeats already. A voxel without an estimate stays, as NaN: `voxels_without_data`
    in the attrs counts them (they can differ between train and test). Raises InputError.
    """
    responses, stimuli = find(path, RESPONSES), find(path, STIMULI)
    pictures = {split: _images(stimuli, split) for split in SPLITS}
    found = {
        f"{subject}/{split}": _responses(responses, subject, split, pictures[split].sizes[STIMULUS])
        for subject in SUBJECTS
        for split in SPLITS
    }
    return found | {f"images/{split}": cube for split, cube in pictures.items()}


def ids(split: str, count: int) -> list[str]:
    """Names of the images of one split by their place in the file, from 1."""
    return [f"{split}{n:04d}" for n in range(1, count + 1)]


def place(index: NDArray[Any]) -> tuple[NDArray[np.int64], ...]:
    """x, y, z (from 0) of MATLAB's linear indices (from 1) into the 64 x 64 x 18 volume, first axis fastest."""
    return np.unravel_index(index.astype(np.int64) - 1, VOLUME, order="F")


def _responses(path: Path, subject: str, split: str, stimuli: int) -> xr.DataArray:
    name = f"data{SPLITS[split]}{subject}"
    modern = h5py.is_hdf5(path)
    if modern:
        shape, dtype = _declared(path, name)
    else:
        whole = np.asarray(load_mat(path, [name])[name])
        shape, dtype = whole.shape[::-1], whole.dtype.name
    voxels = _vector(path, f"voxIdx{subject}", modern)
    rois = _vector(path, f"roi{subject}", modern)
    if len(shape) != 2 or shape != (stimuli, len(voxels)) or len(rois) != len(voxels):
        raise InputError(
            f"{path}: {name} is {shape} (images, voxels) beside {stimuli} images, "
            f"{len(voxels)} voxIdx{subject} and {len(rois)} roi{subject}; wanted one of each"
        )
    values = lazy(
        (Slices if modern else MatRows)(path, name, dtype), (*shape, 1, 1), dtype, split=1, source=path
    )
    return cube_of(
        values,
        FMRI,
        stimuli=ids(split, stimuli),
        units=[f"v{n:05d}" for n in voxels],
        sources=[path],
        attrs={
            "quantity": "response amplitude",
            "units": "z",
            "dataset": DATASET,
            "subject": subject,
            "voxels_without_data": _empty(path, name, modern),
        },
        coords={**_voxel_coords(path, subject, voxels, rois), "split": (STIMULUS, [split] * stimuli)},
    )


def _declared(path: Path, name: str) -> tuple[tuple[int, int], str]:
    with opened(path) as file:
        found = dataset(path, file, name, ndim=2, kinds="f")
        return found.shape, found.dtype.newbyteorder("=").name


def _vector(path: Path, name: str, modern: bool) -> NDArray[Any]:
    if modern:
        with opened(path) as file:
            values = loaded(path, file, name, ndim=2).ravel()
    else:
        values = np.ravel(np.asarray(load_mat(path, [name])[name]))
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all() or (values != np.floor(values)).any():
        raise InputError(f"{path}: {name} is not all whole numbers")
    return values.astype(np.int64)


def _empty(path: Path, name: str, modern: bool) -> int:
    """Voxels whose first response is NaN; one image of every voxel is read for it."""
    if modern:
        with opened(path) as file:
            first = np.asarray(file[name][0])
    else:
        first = np.asarray(load_mat(path, [name])[name])[:, 0]
    return int(np.isnan(first).sum())


def _voxel_coords(path: Path, subject: str, voxels: NDArray[Any], rois: NDArray[Any]) -> Labels:
    size = int(np.prod(VOLUME))
    if len(voxels) and not (voxels.min() >= 1 and voxels.max() <= size):
        raise InputError(
            f"{path}: voxIdx{subject} goes from {voxels.min()} to {voxels.max()}; wanted 1 to {size}, "
            f"places in a volume of {VOLUME}"
        )
    x, y, z = place(voxels)
    return {
        "region": (UNIT, region_names(path, f"roi{subject}", rois, ROIS)),
        "x": (UNIT, x.astype("int32")),
        "y": (UNIT, y.astype("int32")),
        "z": (UNIT, z.astype("int32")),
    }


def region_names(path: Path, where: str, codes: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.object_]:
    """Name of each voxel's region by its code. Raises InputError where a code has no name."""
    if len(codes) and not (codes.min() >= 0 and codes.max() < len(names)):
        raise InputError(
            f"{path}: {where} has codes from {codes.min()} to {codes.max()}; wanted 0 to {len(names) - 1}, "
            f"for {', '.join(names)}"
        )
    return texts(np.array(names, object)[codes])


def _images(path: Path, split: str) -> xr.DataArray:
    """stimTrn or stimVal, (image, row, col) in an older file and reversed in a 7.3 one, as grey of 8 bits."""
    name, order = f"stim{SPLITS[split]}", f"seq{SPLITS[split]}"
    if h5py.is_hdf5(path):
        with opened(path) as file:
            pixels = loaded(path, file, name, ndim=3).transpose(2, 1, 0)
            sequence = loaded(path, file, order, ndim=2)
    else:
        found = load_mat(path, [name, order])
        pixels, sequence = np.asarray(found[name]), np.asarray(found[order])
    cube = image_cube(
        grey(path, name, pixels),
        ids(split, len(pixels)),
        dataset=DATASET,
        coords={"split": texts([split] * len(pixels))},
    )
    return cube.assign_attrs(
        sources=[file_record(path)], dropped={f"order of presentation, {order}": int(sequence.size)}
    )


def grey(path: Path, name: str, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Square grey pictures as 8 bits, (image, row, col, 1).

    Whole numbers in 0..255 stay; others are stretched from their least to their greatest value over the
    whole array, which keeps the order and the differences of contrast. Raises InputError.
    """
    if pixels.ndim != 3 or pixels.dtype.kind not in "fiu" or not pixels.size:
        raise InputError(
            f"{path}: {name} is {pixels.dtype} {pixels.shape}; wanted numbers, (image, row, col)"
        )
    plausible(path, name, pixels.shape, pixels.dtype.itemsize, loaded=True)
    if not np.isfinite(pixels).all():
        raise InputError(f"{path}: {name} has pixels that are NaN or infinite")
    low, high = float(pixels.min()), float(pixels.max())
    whole = pixels.dtype.kind in "iu" or bool((pixels == np.floor(pixels)).all())
    if not (whole and low >= 0 and high <= 255):
        pixels = np.round((pixels - low) * (255 / ((high - low) or 1)))
    return pixels.astype(np.uint8)[..., None]


READER: Final = Reader(
    "kay2008",
    "Voxels of early visual cortex to natural photographs (CRCNS vim-1). Kay et al. (2008).",
    (RESPONSES, STIMULI),
    read,
)
