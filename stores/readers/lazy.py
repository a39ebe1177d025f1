"""Arrays that Dask reads from files block by block, and the limits on what a file may declare."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from stores.errors import InputError

Region = tuple[slice, ...]
Read = Callable[[Region], NDArray[Any]]

BLOCK_BYTES: Final = 32 * 2**20
LOADED_BYTES: Final = 2 * 2**30
"""What is read at once, such as a table or a mask, may not be larger than this."""
LONGEST: Final = 50_000_000
MOST_BLOCKS: Final = 50_000


def lazy(read: Read, shape: tuple[int, ...], dtype: Any, *, split: int, source: Path) -> da.Array:
    """The array that `read` gives region by region, cut along axis `split` into blocks of about 32 MB.

    read : small, picklable, and a dataclass, so that equal sources give equal task names; it is called
    with one slice per axis and gives the values there.
    Raises InputError, naming `source`, where the shape is absurd. Reads nothing.
    """
    dtype = np.dtype(dtype)
    plausible(source, "its array", shape, dtype.itemsize)
    one = max(1, dtype.itemsize * prod(size for axis, size in enumerate(shape) if axis != split))
    step = max(1, BLOCK_BYTES // one)
    count = shape[split]
    if count > step * MOST_BLOCKS:
        raise InputError(f"{source} declares an array of {shape}; that is too large to be read")
    along = tuple(min(step, count - start) for start in range(0, count, step)) or (0,)
    chunks = tuple(along if axis == split else (size,) for axis, size in enumerate(shape))
    return from_blocks(read, chunks, dtype)


def from_blocks(read: Read, chunks: tuple[tuple[int, ...], ...], dtype: Any) -> da.Array:
    """The array that `read` gives region by region, with these chunks."""
    name = f"read-{tokenize(read, chunks, str(dtype))}"
    meta = np.empty((0,) * len(chunks), dtype)
    found: da.Array = da.map_blocks(  # type: ignore[no-untyped-call]
        _block, read=read, chunks=chunks, dtype=dtype, meta=meta, name=name
    )
    return found


def plausible(
    source: Path,
    where: str,
    shape: tuple[int, ...],
    itemsize: int,
    loaded: bool = False,
    longest: int = LONGEST,
) -> None:
    """Raise InputError where a declared shape is absurd or, if it is to be loaded, over the limit."""
    size = prod(shape) * itemsize
    if max(shape, default=0) > longest or (loaded and size > LOADED_BYTES):
        raise InputError(
            f"{source}: {where} declares the shape {shape}, {size / 2**30:,.0f} GiB; "
            f"wanted no axis over {longest:,}"
            + (f" and no more than {LOADED_BYTES / 2**30:.0f} GiB" if loaded else "")
        )


def finite(source: Path, where: str, values: NDArray[Any]) -> NDArray[Any]:
    """`values` unchanged; NaN stays, for it means missing. Raises InputError where one is infinite."""
    if values.dtype.kind == "f" and (infinite := np.isinf(values)).any():
        count = int(infinite.sum())
        raise InputError(f"{source}: {where} holds {count} infinite values; wanted numbers, or NaN for none")
    return values


def starts(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """(start, stop) of consecutive pieces of these sizes."""
    return list(pairwise(accumulate(sizes, initial=0)))


def _block(read: Read, block_info: Any = None) -> NDArray[Any]:
    where = block_info[None]["array-location"]
    return read(tuple(slice(int(start), int(stop)) for start, stop in where))
