"""How the work of an RDM is cut: tiles of pairs, blocks of time, stripes of units, from what a task may
hold."""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from pipeline.blocks import FAN_IN
from pipeline.errors import PlanError
from pipeline.kernels.moments import merge_bytes, moments_bytes
from pipeline.kernels.rdm import SCRATCH, rdm_bytes
from pipeline.kernels.triangle import Rows, pairs
from pipeline.plan import size
from stores.dims import REPEAT, STIMULUS, TIME, UNIT

SHARES: Final = 8
"""Into how many tasks a cube is cut that would fit fewer, so that cores share it; never how many there are."""
WORTH_A_TIME: Final = 5e8
WORTH_A_TILE: Final = 2e9
WORTH_A_STRIPE: Final = 4e9
"""Multiplications worth a task of their own: a stripe of units costs the adding of its products as well."""


@dataclass(frozen=True)
class Layout:
    """times, units : sizes of a block.  rows : the tiles, which together are all rows of the matrix.
    prepared : whether tasks of their own prepare the patterns, once for all tiles.
    """

    times: int
    units: int
    rows: tuple[Rows, ...]
    prepared: bool
    peak: int


def layout(cube: xr.DataArray, task_bytes: int) -> Layout:
    """Blocks of `cube` with which no task of its RDM holds more than `task_bytes`.

    Raises PlanError where one unit at one time, of all stimuli and repeats, is too much already.
    """
    sizes = cube.sizes
    stimuli, units, times = sizes[STIMULUS], sizes[UNIT], sizes[TIME]
    room = max(0, task_bytes - SCRATCH) // (8 * (FAN_IN + 2))  # pairs of one tile and time block
    rows = _tiles(stimuli, max(1, room))
    work = stimuli**2 * units * times / 2
    block = max(1, times // int(min(SHARES, max(1.0, work // WORTH_A_TIME))))
    block = min(block, max(1, room // max(1, max(pairs(stimuli, tile) for tile in rows))))
    # All units at once where that fits, of however few times: then nothing waits in memory to be added.
    while block > 1 and _units(cube, block, rows, task_bytes) < units:
        block -= 1
    block = _fitting(block, times, cube.chunksizes.get(TIME))
    stripe = min(units, _units(cube, block, rows, task_bytes))
    if stripe < 1:
        need = max(_need(cube, 1, 1, tile) for tile in rows)
        raise PlanError(
            f"an RDM of {stimuli:,} stimuli with {sizes[REPEAT]:,} repeats needs {size(need)} for one unit at "
            f"one time, and a task may hold {size(task_bytes)}. Raise `task_bytes`, or average repeats first."
        )
    # Tiles want all patterns, which in memory costs nothing; elsewhere they would read everything again.
    whole = stripe == units and cube.chunks is None
    shares = int(min(SHARES, max(1.0, work // (WORTH_A_TILE if whole else WORTH_A_STRIPE))))
    parts = -(-shares // (-(-times // block) * len(rows)))
    if whole:
        rows, parts = _cut(stimuli, len(rows) * parts), 1
    stripe = _fitting(min(stripe, -(-units // parts)), units, cube.chunksizes.get(UNIT))
    prepared = whole and block == 1 and len(rows) > 1
    return Layout(block, stripe, rows, prepared, _peak(cube, block, stripe, rows))


def _tiles(stimuli: int, room: int) -> tuple[Rows, ...]:
    """Tiles of at most `room` pairs each where one row is not more."""
    for count in range(max(1, -(-pairs(stimuli) // room)), stimuli):
        tiles = _cut(stimuli, count)
        if max(pairs(stimuli, tile) for tile in tiles) <= room:
            return tiles
    return _cut(stimuli, stimuli)


def _cut(stimuli: int, count: int) -> tuple[Rows, ...]:
    """About `count` runs of rows of about equally many pairs."""
    edges = np.concatenate([[0], np.cumsum(np.arange(stimuli - 1, -1, -1))])  # pairs before each row
    cuts = np.searchsorted(edges, np.linspace(0, edges[-1], count + 1)[1:-1], side="right") - 1
    return tuple(itertools.pairwise(np.unique([0, *cuts.tolist(), stimuli]).tolist()))


def _units(cube: xr.DataArray, times: int, rows: tuple[Rows, ...], task_bytes: int) -> int:
    """How many units a stripe of `times` time points may have, so that every tile fits."""
    needs = [[_need(cube, units, times, tile) for units in (0, 1)] for tile in rows]
    return min(int((task_bytes - none) // max(1, one - none)) for none, one in needs)


def _need(cube: xr.DataArray, units: int, times: int, tile: Rows) -> int:
    """Peak bytes of the task that makes `tile` of such a block."""
    sizes = cube.sizes
    kernel = rdm_bytes if units == sizes[UNIT] else moments_bytes
    made = kernel(sizes[STIMULUS], units, times, sizes[REPEAT], cube.dtype, tile)
    # A lazy block is decoded or joined from others, which are there beside it and not given back at once.
    before = sizes[STIMULUS] * units * times * sizes[REPEAT] * cube.dtype.itemsize
    return made + (before if cube.chunks is not None else 0)


def _fitting(wanted: int, whole: int, stored: tuple[int, ...] | None) -> int:
    """At most `wanted`: whole stored blocks where one fits, else equal parts."""
    wanted = max(1, min(wanted, whole))
    if stored and stored[0] <= wanted < whole:
        return wanted // stored[0] * stored[0]
    return -(-whole // -(-whole // wanted))


def _peak(cube: xr.DataArray, times: int, units: int, rows: tuple[Rows, ...]) -> int:
    few = min(FAN_IN, -(-cube.sizes[UNIT] // max(1, units)))
    merged = max(merge_bytes(cube.sizes[STIMULUS], times, few, tile) for tile in rows) if few > 1 else 0
    return max(merged, *(_need(cube, units, times, tile) for tile in rows))
