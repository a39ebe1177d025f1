"""Brain images (NIfTI) as voxels: headers first, values volume by volume."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers.cubes import Labels
from stores.readers.files import readable
from stores.readers.lazy import Region, finite, plausible

SUFFIXES: Final = (".nii", ".nii.gz")
PIECE: Final = 2**20
WHAT: Final = "a NIfTI image"
_HEADER: Final[Any] = nib.Nifti1Header


@dataclass(frozen=True)
class Volume:
    """One image file: where it lies, (x, y, z) or (x, y, z, t), its dtype, voxel to mm."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    affine: tuple[tuple[float, ...], ...]


def opened(path: Path, *, checked: bool = True) -> Volume:
    """The header of an image, its file's size and checksum (of a .gz) verified. Raises InputError.

    checked : False compares the size of a .gz with that in its last bytes alone, for files that are streamed
    to their checksum later.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; wanted a NIfTI image")
    with readable(path, WHAT):
        image: Any = nib.load(path)
        shape, dtype = tuple(map(int, image.shape)), image.get_data_dtype()
        if not 3 <= len(shape) <= 4 or min(shape) < 1 or dtype.kind not in "fiu":
            raise InputError(f"{path} is {dtype} {shape}; wanted numbers, (x, y, z) or (x, y, z, t)")
        plausible(path, "its header", shape, dtype.itemsize)
        needed = int(image.dataobj.offset) + prod(shape) * dtype.itemsize
        size = _size(path) if checked else _told_size(path, needed)
        if size < needed or (size > needed and path.suffix == ".nii"):  # else something was put in between
            raise InputError(
                f"{path} holds {size} bytes; its header declares {dtype} {shape}, which needs {needed}. "
                "Is it whole? Fetch it again."
            )
        affine = tuple(tuple(float(one) for one in row) for row in image.affine)
        return Volume(path, shape, dtype.newbyteorder("=").name, affine)


def mask(path: Path, like: Volume) -> NDArray[np.bool_]:
    """A region's image on the voxels of `like`, (voxel,): above 0 is inside. Raises InputError."""
    return values_on(path, like) > 0


def values_on(path: Path, like: Volume) -> NDArray[Any]:
    """One value for each voxel of `like`, (voxel,), NaN for none. Raises InputError."""
    found = opened(path)
    if found.shape[:3] != like.shape[:3] or prod(found.shape[3:]) != 1:
        raise InputError(f"{path} has the grid {found.shape}; that of {like.path.name} is {like.shape[:3]}")
    if not np.allclose(found.affine, like.affine, atol=1e-3):
        raise InputError(f"{path} lies elsewhere in space than {like.path.name}: their affines differ")
    plausible(path, "its header", found.shape, 8, loaded=True)
    return finite(path, "its values", values_of(found).ravel())


def values_of(volume: Volume, times: slice | None = None) -> NDArray[Any]:
    """Scaled values, the image's own shape, or some of its time points. Raises InputError."""
    with readable(volume.path, WHAT):
        image: Any = nib.load(volume.path)
        data = image.dataobj
        return np.asarray(data[..., times] if times is not None else data)


def streamed(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """(time point, voxels in C order, scaled) of a 4-D image, to its end, where a .gz is checked. InputError."""
    with readable(path, WHAT), _file(path) as file:
        header = _HEADER.from_fileobj(file)
        dtype, shape = header.get_data_dtype(), header.get_data_shape()
        slope, intercept = header.get_slope_inter()
        file.seek(int(header.get_data_offset()))
        size = prod(shape[:3]) * dtype.itemsize
        for trial in range(shape[3]):
            raw = np.frombuffer(file.read(size), dtype).reshape(shape[:3], order="F").ravel()
            yield trial, raw if slope in (None, 1) and not intercept else raw * slope + intercept
        if file.read(1):
            raise InputError(f"{path} goes on after its last volume")


def masks_in(folder: Path, like: Volume, pattern: str = "*") -> dict[str, NDArray[np.bool_]]:
    """Every mask in a folder by name, as `roi_<name>`; none where there is no such folder."""
    found = sorted(one for ending in SUFFIXES for one in folder.glob(pattern + ending))
    return {f"roi_{stem(one)}": mask(one, like) for one in found}


def stem(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def voxel_labels(volume: Volume, masks: Mapping[str, NDArray[np.bool_]]) -> tuple[list[str], Labels]:
    """Ids and coordinates x, y, z (from 0) of all voxels, x slowest, and the masks."""
    x, y, z = (axis.ravel().astype("int32") for axis in np.indices(volume.shape[:3]))
    ids = [f"x{a:03d}_y{b:03d}_z{c:03d}" for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)]
    axes = {"x": x, "y": y, "z": z}
    return ids, {name: (UNIT, values) for name, values in {**axes, **masks}.items()}


@dataclass(frozen=True)
class Times:
    """Time points of one image as blocks (stimulus = time point, unit = voxel, 1, 1)."""

    volume: Volume
    dtype: str

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there. Raises InputError."""
        data = values_of(self.volume, where[0]).astype(self.dtype)
        flat = data.reshape(-1, data.shape[-1]).T[:, where[1]]
        return np.ascontiguousarray(finite(self.volume.path, "its values", flat))[:, :, None, None]


@dataclass(frozen=True)
class Images:
    """Images of one grid as blocks (stimulus, unit = voxel, 1, repeat); None is a trial that is not there."""

    volumes: Sequence[Sequence[Volume | None]]
    dtype: str

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there. Raises InputError."""
        rows = [list(one)[where[3]] for one in list(self.volumes)[where[0]]]
        found = np.full(
            (len(rows), where[1].stop - where[1].start, 1, len(rows[0])), np.nan, dtype=self.dtype
        )
        for n, row in enumerate(rows):
            for r, volume in enumerate(row):
                if volume is not None:
                    flat = values_of(volume).astype(self.dtype).ravel()[where[1]]
                    found[n, :, 0, r] = finite(volume.path, "its values", flat)
        return found


def _file(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _size(path: Path) -> int:
    """Bytes of the image; a compressed one is read to its end, for only there lies its checksum."""
    if path.suffix != ".gz":
        return path.stat().st_size
    size = 0
    with gzip.open(path) as file:
        while piece := file.read(PIECE):
            size += len(piece)
    return size


def _told_size(path: Path, needed: int) -> int:
    """Bytes of the image; a compressed one tells them in its last four, less the multiples of 2**32."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, 2)
        told = int.from_bytes(file.read(4), "little")
    return needed if told == needed % 2**32 else 0
