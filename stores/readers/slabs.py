"""HDF5 datasets of trials, read in contiguous pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from stores.readers.hdf5 import dataset, opened
from stores.readers.lazy import finite
from stores.readers.trials import PIECE_BYTES, Indices, runs

DENSE: Final = 0.5
"""Above this share of wanted rows a stretch is read whole, rather than row by row."""


def stored(path: Path, file: h5py.File, name: str, *, ndim: int, kinds: str = "f") -> h5py.Dataset:
    """A dataset of real numbers, every one of which was written. Raises InputError."""
    return dataset(path, file, name, ndim=ndim, kinds=kinds)


def stretches(rows: Indices, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Ascending rows as (first place, last place + 1), each a span of the file that fits one piece."""
    span = int(rows[-1] - rows[0]) + 1
    gap = span if len(rows) > DENSE * span else 4096 // row_bytes
    most = max(1, PIECE_BYTES // row_bytes)
    for first, last in runs(rows, gap):
        while first < last:
            stop = int(np.searchsorted(rows[first:last], rows[first] + most)) + first
            yield first, stop
            first = stop


def single(path: Path, where: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """`values` rounded to float32. Raises InputError where one is infinite, or too large for that."""
    with np.errstate(over="ignore", invalid="ignore"):
        return finite(path, where, values.astype(np.float32, copy=False))


@dataclass(frozen=True)
class Rows:
    """A dataset (..., trial, unit): trials are counted through all axes but the last, in file order.

    units : for each unit of the cube, its column in the file; None where they are the same.
    times : whether the first axis is time instead.
    """

    path: Path
    name: str
    units: Indices | None = None
    times: bool = False

    def __call__(
        self, trials: Indices, units: slice, times: slice
    ) -> Iterator[tuple[slice, slice, slice, NDArray[Any]]]:
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        columns = None if self.units is None else self.units[units]
        with opened(self.path) as file:
            found = file[self.name]
            moments = range(times.start, times.stop) if self.times else range(1)
            for n, moment in enumerate(moments):
                for first, last, rows in self._rows(found, trials, moment):
                    values = single(self.path, self.name, rows)
                    values = values[:, units] if columns is None else values.take(columns, axis=1)
                    yield slice(first, last), slice(None), slice(n, n + 1), values[:, :, None]

    def _rows(
        self, found: h5py.Dataset, trials: Indices, moment: int
    ) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """(first, last, values (trial, unit)) of stretches of trials, none of which crosses an outer axis."""
        inner = found.shape[-2]
        cuts = np.flatnonzero(np.diff(trials // inner)) + 1
        for part in np.split(np.arange(len(trials)), cuts):
            outer = (
                (moment,) if self.times else tuple(np.atleast_1d(trials[part[0]] // inner))[: found.ndim - 2]
            )
            rows = trials[part] % inner
            for first, last in stretches(rows, found.dtype.itemsize * found.shape[-1]):
                low, high = int(rows[first]), int(rows[last - 1]) + 1
                block = found[(*outer, slice(low, high))]
                if last - first != high - low:
                    block = block.take(rows[first:last] - low, axis=0)
                yield int(part[0]) + first, int(part[0]) + last, block
