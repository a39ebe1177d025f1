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


@dataclass(frozen=True)
class TrialReader:
    """Blocks (stimulus, unit, time, repeat), float32, of a recording."""

    pieces: Pieces
    trials: Indices

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Values there; NaN where a stimulus was not presented as often. Raises InputError."""
        table = self.trials[where[0], where[3]]
        shape = (
            table.shape[0],
            where[1].stop - where[1].start,
            where[2].stop - where[2].start,
            table.shape[1],
        )
        row, repeat = np.nonzero(table >= 0)
        found = np.empty(shape, np.float32)
        if len(row) < table.size:
            found[...] = np.nan
        order = np.argsort(table[row, repeat], kind="stable")
        row, repeat = row[order], repeat[order]
        asked = table[row, repeat]
        got = 0
        if len(asked):
            for trials, units, times, values in self.pieces(asked, where[1], where[2]):
                found[row[trials], units, times, repeat[trials]] = values
                got += values.size
        if got != (wanted := len(asked) * shape[1] * shape[2]):  # else what is left would be chance numbers
            raise InputError(f"{self.pieces} gave {got} values of {wanted}")
        return found


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
    places, found = {}, {}
    for name, part in where.items():
        table = readers[name].trials[part[0], part[3]]
        row, repeat = np.nonzero(table >= 0)
        order = np.argsort(table[row, repeat], kind="stable")
        places[name] = row[order], repeat[order], table[row[order], repeat[order]]
        shape = (table.shape[0], units.stop - units.start, times.stop - times.start, table.shape[1])
        found[name] = np.full(shape, np.nan, np.float32)
    asked = np.unique(np.concatenate([trials for _, _, trials in places.values()]))
    got = 0
    for some, at, when, values in pieces(asked, units, times) if len(asked) else ():
        here = asked[some]
        for name, (row, repeat, trials) in places.items():
            own = slice(*np.searchsorted(trials, [here[0], here[-1] + 1]).tolist())
            found[name][row[own], at, when, repeat[own]] = values[np.searchsorted(here, trials[own])]
        got += values.size
    if got != (wanted := len(asked) * (units.stop - units.start) * (times.stop - times.start)):
        raise InputError(f"{pieces} gave {got} values of {wanted}")
    return found


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
