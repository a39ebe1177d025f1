"""Recordings made of trials as cubes: which trial is which stimulus and repeat, read in blocks that suit both.

A block is what one task reads and writes. Its edges are those of the store's shards, except along axes that
cannot be cut without reading the same bytes again; there it is whole (`blocks`). `storage` gives the words for
`stores.writing`, and `regions` the regions to fill, so that an import reads every byte of a cube's source once.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.typing import NDArray

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.layout import Access, layout, stimulus_block
from stores.readers.lazy import Region, starts
from stores.target import Target

BLOCK_AT_MOST: Final = 128 * 2**20
PIECE_BYTES: Final = 16 * 2**20
"""How much of a source is held at once beside the block that it goes into."""
TRIALS: Final = "trials"
"""Where the encoding of a cube holds its `TrialReader`, if other cubes are to be read from the same bytes."""
Chunks = tuple[tuple[int, ...], ...]
Indices = NDArray[np.int64]
Piece = tuple[slice, slice, slice, NDArray[Any]]
"""Trials, units and times, counted from the first asked for, and the values there, (trial, unit, time)."""


@dataclass(frozen=True)
class Presented:
    """Stimuli, by id if not `in_order`, and the trials: (stimulus, repeat), -1 where there was none."""

    stimuli: tuple[str, ...]
    trials: Indices

    def coord(self, values: Any) -> tuple[tuple[str, str], NDArray[Any]]:
        """Something known of each trial, by stimulus and repeat: a whole number (-1 for none) or else NaN."""
        array = np.asarray(values)
        found = array[self.trials.clip(0)]
        if array.dtype.kind == "f":
            return (STIMULUS, REPEAT), np.where(self.trials < 0, np.nan, found)
        return (STIMULUS, REPEAT), np.where(self.trials < 0, -1, found.astype(np.int64))


def presented(stimuli: Iterable[str], trials: Iterable[int]) -> Presented:
    """Repeats of a stimulus are counted in the order given; stimuli go by id, whatever that order is."""
    by_id: dict[str, list[int]] = {}
    for one, trial in zip(stimuli, trials, strict=True):
        by_id.setdefault(one, []).append(int(trial))
    ids = tuple(sorted(by_id))
    table = np.full((len(ids), max(map(len, by_id.values()), default=1)), -1, np.int64)
    for row, one in enumerate(ids):
        table[row, : len(by_id[one])] = by_id[one]
    return Presented(ids, table)


def in_order(stimuli: Iterable[str], trials: Iterable[int]) -> Presented:
    """Stimuli that were each presented once, in the order given: for sources that can only be read in theirs."""
    return Presented(tuple(stimuli), np.array([[one] for one in trials], np.int64).reshape(-1, 1))


class Pieces(Protocol):
    """A picklable way into a recording: some trials (ascending), units and times, in bearable pieces."""

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:
        """Yield pieces that together hold all that is asked for."""


class ByUnit:
    """Marks `Pieces` of a source that holds the trials of a unit together: they may be asked for in any order.

    Blocks of them lie in memory as in the source and in the store, unit by unit, so that nothing is transposed.
    """


@dataclass(frozen=True)
class TrialReader:
    """Blocks (stimulus, unit, time, repeat), float32, of a recording."""

    pieces: Pieces
    trials: Indices

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Values there; NaN where a stimulus was not presented as often. Raises InputError."""
        (block,) = _read(self.pieces, [_block(self, where)], *where[1:3])
        return block.values


def together(
    readers: Mapping[str, TrialReader], where: Mapping[str, Region]
) -> dict[str, NDArray[np.float32]]:
    """Values of several cubes of one recording, at the same units and times, whose bytes are read once.

    readers : by cube; their `pieces` are equal.  where : a region of each, that differ in stimuli and repeats.
    Raises InputError, and ValueError for regions of different units or times.
    """
    (pieces,) = {one.pieces for one in readers.values()}
    spans = {(one[1].start, one[1].stop, one[2].start, one[2].stop) for one in where.values()}
    if len(spans) > 1:
        raise ValueError(f"regions of different units or times cannot be read together: {dict(where)}")
    units, times = next(iter(where.values()))[1:3]
    made = _read(pieces, [_block(readers[name], part) for name, part in where.items()], units, times)
    return {name: block.values for name, block in zip(where, made, strict=True)}


@dataclass(frozen=True)
class _Block:
    """Values to be, and the trials that they are made of in the order asked for: `slots` are their places among
    (stimulus, repeat)."""

    values: NDArray[np.float32]
    slots: Indices
    trials: Indices

    def put(self, own: slice, units: slice, times: slice, values: NDArray[Any]) -> None:
        """values : (trial, unit, time) of some of the trials."""
        slots = self.slots[own]
        if self.values.flags.c_contiguous:
            row, repeat = np.divmod(slots, self.values.shape[3])
            self.values[row, units, times, repeat] = values
        elif len(slots):
            by_unit = self.values.transpose(1, 2, 0, 3)
            flat = by_unit.reshape(*by_unit.shape[:2], -1)
            run = slots[-1] - slots[0] + 1 == len(slots)  # ascending, thus without a gap
            flat[units, times, slice(slots[0], slots[-1] + 1) if run else slots] = values.transpose(1, 2, 0)


def _block(reader: TrialReader, where: Region) -> _Block:
    table = reader.trials[where[0], where[3]]
    units, times = (one.stop - one.start for one in where[1:3])
    slots = np.flatnonzero(table >= 0)
    if isinstance(reader.pieces, ByUnit):
        values = np.empty((units, times, *table.shape), np.float32).transpose(2, 0, 1, 3)
    else:
        values = np.empty((len(table), units, times, table.shape[1]), np.float32)
        slots = slots[np.argsort(table.flat[slots], kind="stable")]
    if len(slots) < table.size:
        values[...] = np.nan
    return _Block(values, slots, table.ravel()[slots])


def _read(pieces: Pieces, blocks: Sequence[_Block], units: slice, times: slice) -> Sequence[_Block]:
    """The blocks, filled. Raises InputError."""
    asked = np.concatenate([block.trials for block in blocks])
    by_unit = isinstance(pieces, ByUnit)
    if not by_unit:
        asked = np.sort(asked, kind="stable")
        asked = asked[np.diff(asked, prepend=-1) > 0]
    got = 0
    for some, at, when, values in pieces(asked, units, times) if len(asked) else ():
        begin, here = 0, slice(*some.indices(len(asked))[:2])
        for block in blocks:
            count = len(block.trials)
            own, rows = _shared(here, begin, count) if by_unit else _found(asked[here], block.trials)
            block.put(own, at, when, values[rows])
            begin += count
        got += values.size
    # Else what is left would be chance numbers.
    if got != (wanted := len(asked) * (units.stop - units.start) * (times.stop - times.start)):
        raise InputError(f"{pieces} gave {got} values of {wanted}")
    return blocks


def _shared(here: slice, begin: int, count: int) -> tuple[slice, slice | Indices]:
    """Of a piece of all that was asked for, and the `count` trials from `begin` on: those that are in both, by
    their place among the latter and in the piece."""
    first, last = max(here.start, begin), min(here.stop, begin + count)
    last = max(first, last)
    return slice(first - begin, last - begin), slice(first - here.start, last - here.start)


def _found(here: Indices, trials: Indices) -> tuple[slice, slice | Indices]:
    """As `_shared`, for ascending trials of a piece, and of a block."""
    own = slice(*np.searchsorted(trials, [here[0], here[-1] + 1]).tolist())
    rows = np.searchsorted(here, trials[own])
    return own, slice(None) if np.array_equal(rows, np.arange(len(here))) else rows


def blocks(shape: Sequence[int], dtype: npt.DTypeLike, *, whole: Sequence[str], slow: str) -> Chunks:
    """Chunks of a cube: shards of the store, but whole along the axes `whole`.

    slow : the axis along which the source may be cut for nothing, its outermost. Of the store's layouts, that
    of responses first, the one is taken that cuts the others least while a block is at most 128 MB.
    """
    found = [_chunks(shape, dtype, access, stimuli, whole) for access, stimuli in _storages(shape, dtype)]
    sizes = [np.dtype(dtype).itemsize * prod(one[0] for one in chunks) for chunks in found]
    small = [chunks for chunks, size in zip(found, sizes, strict=True) if size <= BLOCK_AT_MOST]
    return min(
        small or [found[int(np.argmin(sizes))]],
        key=lambda one: prod(map(len, one)) / len(one[CUBE.index(slow)]),
    )


def beside(first: Chunks, shape: Sequence[int]) -> Chunks:
    """Chunks of a cube that is read together with one of these chunks: cut where it is along units and times."""
    return (shape[0],), first[1], first[2], (shape[3],)


def storage(cube: xr.DataArray) -> Mapping[str, Any]:
    """Words for `stores.writing` (`access`, `stimuli`, `steps`) with which the cube's blocks are whole shards."""
    own: list[tuple[Access, int | None]] = [("stimulus", cube.chunks[0][0])] if cube.chunks else []
    found: list[dict[str, Any]] = [
        {"access": access, "stimuli": stimuli}
        for access, stimuli in [*_storages(cube.shape, cube.dtype), *own]
    ]
    if cube.chunks:
        found.append({"access": "unit", "steps": {UNIT: cube.chunks[1][0], TIME: cube.chunks[2][0]}})
    for words in found:
        shard = _shard(cube.shape, cube.dtype, **words)
        cut = zip(cube.chunks or [(size,) for size in cube.shape], shard, strict=True)
        if all(size % step == 0 for sizes, step in cut for size in sizes[:-1]):
            return words
    return {"access": "unit"}


def regions(target: Target, cube: xr.DataArray) -> list[Region]:
    """The regions to fill: whole shards, cut only where the blocks of the lazy `cube` are, in C order.

    Where that makes regions much larger than a block may be, they are the shards themselves.
    """
    edges = []
    for axis, (size, shard) in enumerate(zip(target.shape, target.shard, strict=True)):
        sizes = cube.chunks[axis] if cube.chunks else (size,)
        ends = [stop for _, stop in starts(sizes) if stop % shard == 0 or stop == size]
        edges.append([slice(a, b) for a, b in itertools.pairwise([0, *ends])])
    found = list(itertools.product(*edges))
    largest = max((prod(part.stop - part.start for part in one) for one in found), default=0)
    return found if largest * cube.dtype.itemsize <= 4 * BLOCK_AT_MOST else target.regions()


def runs(indices: Indices, gap: int = 0) -> list[tuple[int, int]]:
    """Ascending indices as (first place, last place + 1) of stretches with holes of at most `gap`."""
    cut = np.flatnonzero(np.diff(indices) > gap + 1) + 1
    return list(itertools.pairwise([0, *cut.tolist(), len(indices)])) if len(indices) else []


def _storages(shape: Sequence[int], dtype: npt.DTypeLike) -> list[tuple[Access, int | None]]:
    one = np.dtype(dtype).itemsize * prod(shape[1:])
    return [("unit", None), ("stimulus", None), ("stimulus", stimulus_block(one, shape[0]))]


def _shard(shape: Sequence[int], dtype: npt.DTypeLike, **words: Any) -> tuple[int, ...]:
    shard = layout(CUBE, tuple(shape), dtype, **words).shard
    return tuple(min(step, size) for step, size in zip(shard, shape, strict=True))


def _chunks(
    shape: Sequence[int], dtype: npt.DTypeLike, access: Access, stimuli: int | None, whole: Sequence[str]
) -> Chunks:
    steps = _shard(shape, dtype, access=access, stimuli=stimuli)
    found = []
    for dim, size, step in zip(CUBE, shape, steps, strict=True):
        step = size if dim in whole else step
        found.append(tuple(min(step, size - start) for start in range(0, size, step)))
    return tuple(found)
