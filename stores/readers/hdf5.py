"""HDF5 and MATLAB 7.3 files: faults that name file and field, and datasets read slice by slice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers.files import readable
from stores.readers.lazy import LONGEST, Region, finite, plausible

LISTED: Final = 8
LOOKED_UP: Final = 10_000
"""Of how many chunks each is looked up, a tenth of a second at most; more are only counted."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; whatever goes wrong inside is an InputError that names it."""
    with readable(path, "an HDF5 file"), h5py.File(path, "r") as file:
        _not_longer(path, file.userblock_size)
        yield file


def dataset(
    path: Path, file: h5py.File, name: str, *, ndim: int, kinds: str = "fiu", longest: int = LONGEST
) -> h5py.Dataset:
    """The dataset `name`, checked for its axes, their length and kind of number; InputError where it is not so.

    Every value must have been written: what was not would read as zeros.
    """
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
    plausible(path, name, found.shape, found.dtype.itemsize, longest=longest)
    _written(path, name, found)
    return found


def loaded(path: Path, file: h5py.File, name: str, *, ndim: int, kinds: str = "fiu") -> NDArray[Any]:
    """All values of a small dataset. Raises InputError."""
    found = dataset(path, file, name, ndim=ndim, kinds=kinds)
    plausible(path, name, found.shape, found.dtype.itemsize, loaded=True)
    return np.asarray(found[()])


def _written(path: Path, name: str, found: h5py.Dataset) -> None:
    if found.is_virtual or found.external:
        raise InputError(f"{path}: {name} keeps its values in other files; wanted them in this one")
    kind = found.id.get_type()
    if found.dtype.kind == "f" and not kind.equal(h5py.h5t.py_create(found.dtype)):
        raise InputError(f"{path}: {name} is of a kind of floating point number that no machine has")
    if found.chunks is None:
        there, wanted, what = found.id.get_storage_size(), found.size * kind.get_size(), "bytes"
    else:
        corners = [range(0, size, step) for size, step in zip(found.shape, found.chunks, strict=True)]
        there, wanted, what = found.id.get_num_chunks(), prod(map(len, corners)), "chunks"
        if there == wanted <= LOOKED_UP:  # a chunk can be there and not be found, where the index is damaged
            there = sum(_findable(found, one) for one in product(*corners))
    if there != wanted:
        raise InputError(f"{path}: {name} declares {found.shape} but holds {there} of {wanted} {what}")


def _findable(found: h5py.Dataset, corner: tuple[int, ...]) -> bool:
    """Whether the chunk that starts at `corner` would be read; reads nothing, for there is no room to read to."""
    try:
        found.id.read_direct_chunk(corner, out=bytearray(0))
    except ValueError:  # it is there, and needs room
        return True
    except RuntimeError:
        return False
    return True


def _not_longer(path: Path, start: int) -> None:
    """Raise InputError where a file has bytes beyond its end as its head tells: something was put in between.

    HDF5 itself minds only files that are too short. `start` is where the head lies.
    """
    with path.open("rb") as file:
        file.seek(start)
        head = file.read(64)
    version, size = head[8], head[13 if head[8] < 2 else 9]
    place = {0: 24, 1: 28}.get(version, 12) + 2 * size
    told = int.from_bytes(head[place : place + size], "little")
    if (there := path.stat().st_size) > told:
        raise InputError(
            f"{path} has {there} bytes; its head tells of {told}. Fetch it again, or rewrite it with h5repack"
        )


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
