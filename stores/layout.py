"""The one policy of chunk and shard shapes: nobody types a chunk size elsewhere.

A shard is the unit of work, a Dask block and one file; inner chunks are what a query reads. Shards of
32-64 MB write and read fastest and leave a worker room for several; inner chunks of 1 MB keep a
slice of one unit and time cheap.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT

SHARD_BYTES: Final = 48 * 2**20
CHUNK_BYTES: Final = 2**20
STIMULI_AT_MOST: Final = 512

Access = Literal["unit", "stimulus"]
"""How a cube is read or filled: all stimuli of some units (brains), or stimuli by stimuli (activations)."""

GROW: Final[dict[str, tuple[str, ...]]] = {
    "unit": (STIMULUS, UNIT, TIME, REPEAT),
    "stimulus": (TIME, REPEAT, UNIT),
}
"""Axes a shard takes in, first those that are read together."""


@dataclass(frozen=True)
class Layout:
    """Shapes of the inner chunk and of the shard, one number per dim; the shard is a multiple of the chunk."""

    chunk: tuple[int, ...]
    shard: tuple[int, ...]


def layout(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    access: Access = "unit",
    stimuli: int | None = None,
    steps: Mapping[str, int] | None = None,
) -> Layout:
    """Chunk and shard shapes of an array.

    access : "unit" keeps all stimuli of a unit in one shard where they fit; "stimulus" keeps whole stimuli.
    stimuli : with access "stimulus", how many stimuli a shard holds (`stimulus_block`).
    steps : exactly what a shard holds along some dims, so that it fits beside one of a sibling cube.
    """
    itemsize = np.dtype(dtype).itemsize
    fixed = {dim: min(step, shape[dims.index(dim)]) for dim, step in (steps or {}).items()}
    order = [dim for dim in (GROW[access] if dims == CUBE else dims[::-1]) if dim not in fixed]
    wanted = dict.fromkeys(dims, 1) | fixed
    if access == "stimulus" and dims == CUBE:
        wanted[STIMULUS] = min(stimuli or STIMULI_AT_MOST, max(1, shape[0]))
    for dim in order:
        room = SHARD_BYTES // (itemsize * math.prod(wanted.values()))
        wanted[dim] = _even(shape[dims.index(dim)], max(1, room))
    shard = tuple(wanted[dim] for dim in dims)
    chunk = _inner(dims, shard, itemsize, fixed)
    return Layout(chunk, tuple(c * math.ceil(s / c) for s, c in zip(shard, chunk, strict=True)))


def stimulus_block(bytes_per_stimulus: int, stimuli: int) -> int:
    """How many stimuli one filling task takes, so that what it holds stays near one shard budget.

    A power of two, at most 512: `bytes_per_stimulus` is the sum over everything the task writes.
    """
    room = max(1, SHARD_BYTES // max(1, bytes_per_stimulus))
    return int(min(2 ** int(math.log2(room)), STIMULI_AT_MOST, max(1, stimuli)))


def codecs() -> tuple[BytesBytesCodec, ...]:
    """Compression and checksum of every variable: LZ4 with bit shuffle, then CRC32C over its bytes."""
    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()


def _even(size: int, room: int) -> int:
    """The largest piece of at most `room` that cuts `size` into pieces of nearly equal size."""
    return math.ceil(size / math.ceil(size / room)) if size else 1


def _inner(
    dims: tuple[str, ...], shard: tuple[int, ...], itemsize: int, fixed: Container[str] = ()
) -> tuple[int, ...]:
    """Halve the longest axis until a chunk is 1 MB: units and time down to 16, then stimuli; none of `fixed`.

    Sixteen keeps runs of neighbouring bytes long enough to copy fast.
    """
    chunk = list(shard)
    free = [i for i, dim in enumerate(dims) if dim not in fixed]
    while itemsize * math.prod(chunk) > CHUNK_BYTES and any(chunk[i] > 1 for i in free):
        cuttable = [i for i in free if dims[i] != STIMULUS and chunk[i] > 16]
        axis = max(cuttable or free, key=lambda i: chunk[i])
        chunk[axis] = math.ceil(chunk[axis] / 2)
    return tuple(chunk)
