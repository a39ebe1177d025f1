"""How the making of sources is cut: parts of their units, blocks of trials, from what a task may hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline.errors import PlanError
from pipeline.kernels.sources import Pool, Step, estimate_bytes, needed
from pipeline.plan import size
from stores.dims import CUBE, ORIENTATION, UNIT
from stores.layout import layout, stimulus_block


@dataclass(frozen=True, eq=False)
class Part:
    """`units` of the result: the positions of the sources that these alone need, and the steps from there."""

    units: int
    needed: npt.NDArray[np.intp]
    steps: Sequence[Step]


@dataclass(frozen=True)
class Work:
    """blocks : their sizes along stimulus, time and repeat.  peak : bytes that a task holds."""

    parts: Sequence[Part]
    blocks: Mapping[str, tuple[int, ...]]
    peak: int


def cut(
    cubes: Sequence[xr.DataArray],
    operator: xr.DataArray,
    steps: Sequence[Step],
    *,
    pool: Pool,
    whole: bool,
    task_bytes: int,
) -> Work:
    """The largest parts and blocks of which no task holds more than `task_bytes`; else PlanError.

    Whole numbers of them make a shard of the stored result, so that filling one computes nothing for another.
    whole : a task needs all times of its trials.
    """
    kept = operator.sizes[ORIENTATION] if pool == "signed" else 1
    count = steps[-1].matrix.shape[0] if steps else operator.sizes[UNIT]
    shape, dtype = cubes[0].shape, dtype_of(cubes)
    made = (shape[0], count * kept, *shape[2:])
    shard = layout(CUBE, made, dtype, **access(made, dtype, whole)).shard
    limits = [min(pair) for pair in zip(shape, shard, strict=True)]
    step = count
    while True:
        parts = [_part(steps, *ends) for ends in parts_within(count, shard[1], kept, step)]
        need = partial(_need, cubes, parts, operator.sizes[ORIENTATION], pool, whole)
        block = list(limits)
        for axis in (0, 3) if whole else (2, 0, 3):
            while need(block) > task_bytes and block[axis] > 1:
                block[axis] = -(-block[axis] // 2)
        if need(block) <= task_bytes:
            sizes = {CUBE[axis]: nested(shape[axis], limits[axis], block[axis]) for axis in (0, 2, 3)}
            return Work(parts, sizes, need(block))
        if step == 1:
            break
        step = -(-step // 2)
    most = max(len(one.needed) for one in parts)
    raise PlanError(
        f"one {'trial' if whole else 'time of one trial'} needs {size(need(block))} for a single unit, made from "
        f"up to {most} sources, and a task may hold {size(task_bytes)}. Raise "
        f"`task_bytes`, or take smaller regions{' or fewer times' if whole else ''}."
    )


def parts_within(count: int, shard: int, kept: int, step: int) -> list[tuple[int, int]]:
    """First and last of each part: at most `step` units, none of which lies in two shards but where one must."""
    cuts = {0, count}
    for edge in range(shard, count * kept, shard):
        cuts |= {edge // kept, -(-edge // kept)}
    found = []
    for start, stop in pairwise(sorted(cuts)):
        for length in nested(stop - start, stop - start, step):
            found.append((start, start + length))
            start += length
    return found


def access(shape: Sequence[int], dtype: npt.DTypeLike, whole: bool) -> dict[str, Any]:
    """How a result is best stored (`stores.layout`): where a task makes whole trials, some stimuli a shard."""
    if not whole:
        return {"access": "unit"}
    per_stimulus = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    return {"access": "stimulus", "stimuli": stimulus_block(per_stimulus, shape[0])}


def nested(length: int, shard: int, size: int) -> tuple[int, ...]:
    """Nearly equal sizes of at most `size` that together make `length`, and every run of `shard`."""
    found: list[int] = []
    for start in range(0, length, shard):
        run = min(shard, length - start)
        pieces = -(-run // size)
        found += [run // pieces + (n < run % pieces) for n in range(pieces)]
    return tuple(found)


def dtype_of(cubes: Sequence[xr.DataArray]) -> np.dtype[np.floating]:
    """The precision of the result."""
    return np.result_type(np.float32, *(one.dtype for one in cubes))


def _part(steps: Sequence[Step], start: int, stop: int) -> Part:
    some, sources = needed(steps, np.arange(start, stop))
    return Part(stop - start, sources, some)


def _need(
    cubes: Sequence[xr.DataArray],
    parts: Sequence[Part],
    orientations: int,
    pool: Pool,
    whole: bool,
    block: Sequence[int],
) -> int:
    """Peak bytes of the hungriest task."""
    channels, itemsize = sum(one.sizes[UNIT] for one in cubes), dtype_of(cubes).itemsize
    sizes = (block[0], channels, *block[2:])
    made = max(
        estimate_bytes(sizes, itemsize, (len(one.needed), orientations), one.steps, pool=pool, whole=whole)
        for one in parts
    )
    # A lazy block is decoded or joined from others, which are there beside it.
    trials = math.prod(block[axis] for axis in (0, 2, 3))
    return made + sum(trials * one.sizes[UNIT] * itemsize for one in cubes if one.chunks is not None)
