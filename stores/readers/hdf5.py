"""HDF5 and MATLAB 7.3 files: faults that name file and field, and datasets read slice by slice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers.files import readable
from stores.readers.lazy import Region, finite, plausible

LISTED: Final = 8


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; whatever goes wrong inside is an InputError that names it."""
    with readable(path, "an HDF5 file"), h5py.File(path, "r") as file:
        yield file


def dataset(path: Path, file: h5py.File, name: str, *, ndim: int, kinds: str = "fiu") -> h5py.Dataset:
    """The dataset `name`, checked for its axes and kind of number; InputError where it is not so."""
    if name not in file or not isinstance(file[name], h5py.Dataset):
        there = list(file)
        near = get_close_matches(name, there, n=1)
        raise InputError(
            f"{path} has no dataset {name!r}; it has {', '.join(there[:LISTED]) or 'nothing'}"
            + (f". Is {near[0]!r} the same under another name?" if near else "")
        )
    found = file[name]
    if found.ndim != ndim or found.dtype.kind not in kinds:
        raise InputError(
            f"{path}: {name} is {found.dtype} of shape {found.shape}; wanted {ndim} axes of kind {kinds}"
        )
    plausible(path, name, found.shape, found.dtype.itemsize)
    return found


def loaded(path: Path, file: h5py.File, name: str, *, ndim: int, kinds: str = "fiu") -> NDArray[Any]:
    """All values of a small dataset. Raises InputError."""
    found = dataset(path, file, name, ndim=ndim, kinds=kinds)
    plausible(path, name, found.shape, found.dtype.itemsize, loaded=True)
    return np.asarray(found[()])


@dataclass(frozen=True)
class Slices:
    """Regions of one numeric dataset as a cube's blocks: (stimulus, unit) with time and repeat of size 1.

    transposed : the file holds (unit, stimulus).    dtype : what the values become.
    """

    path: Path
    name: str
    dtype: str
    transposed: bool = False

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there, (stimulus, unit, 1, 1). Raises InputError."""
        stimulus, unit = where[0], where[1]
        with opened(self.path) as file:
            found = file[self.name]
            values = found[unit, stimulus].T if self.transposed else found[stimulus, unit]
        values = finite(self.path, self.name, np.asarray(values, dtype=self.dtype))
        return np.ascontiguousarray(values)[:, :, None, None]
