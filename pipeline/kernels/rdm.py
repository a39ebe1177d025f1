"""Representational dissimilarity matrices from block products over units; NumPy in, NumPy out.

Notation: x_i is the pattern of stimulus i over P units, repeats averaged first. The distances are
rsatoolbox's:

    correlation   1 - (x_i - m_i)(x_j - m_j) / (|x_i - m_i| |x_j - m_j|),  m_i the mean of x_i over units
    cosine        1 - x_i x_j / (|x_i| |x_j|)
    euclidean     |x_i - x_j|^2 / P          (squared)

Pairs are in `numpy.triu_indices(k=1)` order, where a range of rows is one contiguous run, so a large matrix is
made in tiles of rows. `rdm` makes one of the values of all units; `moments` are for stripes of units. Tiles that
are made at the same time can share patterns: `prepare` those of some stimuli, and `prepared_rdm` makes a tile.

NaN is a missing trial: repeats are averaged without it. A stimulus that still has a NaN or an infinity in
any unit (never seen there) has NaN distances to every other stimulus; drop such units or stimuli first to
compare the rest. A pattern that is constant (correlation) or all zero (cosine) has no direction: NaN too.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.kernels.patterns import (
    Common,
    Directions,
    Distance,
    Doubles,
    Floats,
    Patterns,
    common,
    directions,
    patterns,
)
from pipeline.kernels.triangle import PANEL, Room, Rows, beside, pairs, products, room, tails

Metric = Literal["correlation", "euclidean", "cosine"]
METRICS: Final[Mapping[str, Distance]] = MappingProxyType(
    {
        "correlation": Distance(centred=True, angular=True),
        "euclidean": Distance(shiftable=True),
        "cosine": Distance(angular=True),
    }
)
SCRATCH: Final = 16 * 2**20
"""Bytes of the small buffers of any task here: strips and chunks of doubles, BLAS's own packing."""
Prepared = Patterns | Directions
"""What tells some stimuli apart, made once for all tiles."""


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Precision of the block products and of distances: single for what single holds exactly, else double."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def rdm_bytes(stimuli: int, units: int, times: int, repeats: int, dtype: np.dtype[Any], rows: Rows) -> int:
    """Peak bytes of `rdm`: the block, one time point of patterns, a panel of products, distances, what stimuli
    share (five doubles for a unit, at work), scratch."""
    block = stimuli * units * times * repeats * dtype.itemsize
    height, width = rows[1] - rows[0], stimuli - rows[0]
    values = width * (units + min(height, PANEL)) + times * pairs(stimuli, rows)
    return block + values * working_dtype(dtype).itemsize + 5 * 8 * units + SCRATCH


def rdm(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> Floats:
    """Distances of all pairs whose first stimulus lies in `rows`.

    block : (stimulus, unit, time, repeat), all stimuli and units.
    Returns (time, pair), in the block's `working_dtype`.
    """
    first, stop = rows or (0, block.shape[0])
    out: Floats = np.empty((block.shape[2], pairs(block.shape[0], (first, stop))), working_dtype(block.dtype))
    y, space = make_room(block, (first, stop))
    for t in range(len(out)):
        trials = block[first:, :, t, :]
        _fill(out[t], _prepared(trials, y, common(trials, METRICS[metric]), METRICS[metric]), space)
    return out


def prepare(block: npt.NDArray[Any], *, metric: Metric, rows: Rows) -> Prepared:
    """What `prepared_rdm` wants of the stimuli in `rows`, once for all tiles; `block` as `rdm`'s, of one time."""
    trials = block[:, :, 0, :]
    y: Floats = np.empty((rows[1] - rows[0], block.shape[1]), working_dtype(block.dtype))
    return _prepared(trials[slice(*rows)], y, common(trials, METRICS[metric]), METRICS[metric])


def prepared_rdm(parts: Sequence[Prepared]) -> Floats:
    """Distances of all pairs whose first stimulus lies in the first part; the others are all that follow.

    Returns (1, pair), as `rdm`.
    """
    space = beside([part.y for part in parts])
    height, width = len(parts[0].y), sum(len(part.y) for part in parts)
    out: Floats = np.empty((1, pairs(width, (0, height))), space.panel.dtype)
    _fill(out[0], _joined(parts), space)
    return out


def make_room(block: npt.NDArray[Any], rows: Rows) -> tuple[Floats, Room]:
    """`room` for the patterns of one time of a block, and for tiles of the rows."""
    return room(block.shape[0] - rows[0], block.shape[1], rows[1] - rows[0], working_dtype(block.dtype))


def _prepared(trials: npt.NDArray[Any], y: Floats, shared: Common, distance: Distance) -> Prepared:
    return (directions if distance.angular else patterns)(trials, y, shared, distance)


def _joined(parts: Sequence[Prepared]) -> Prepared:
    """Of the stimuli of all parts, but for their patterns, of which only the first part's stay."""
    names = [name for name in parts[0]._fields if name != "y"]
    return parts[0]._replace(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def full_products(made: Patterns, space: Room) -> Iterator[tuple[Doubles, slice, slice, slice]]:
    """Yield (x_i - mean_i)(x_j - mean_j) in strips, double; rows, columns and run as `products`."""
    for strip, tall, wide, run in products(space):
        whole = np.add.outer(made.dot[tall], made.dot[wide])
        whole += strip
        whole *= made.norm[tall, None]
        whole *= made.norm[wide]
        yield whole, tall, wide, run


def _fill(out: Floats, made: Prepared, space: Room) -> None:
    """Distances of the pairs in `space`; rounding alone makes one negative, and NaN stays."""
    if isinstance(made, Patterns):
        units = made.y.shape[1]
        for whole, tall, wide, run in full_products(made, space):
            squares = np.add.outer(made.square[tall], made.square[wide])
            tails(square_distance(whole, squares, units), out[run])
    else:
        # Half the squared distance of y, small where directions are alike, so that its rounding is small too.
        half = made.half.astype(out.dtype)
        for strip, tall, wide, run in products(space):
            np.subtract(half[wide], strip, out=strip)
            strip += half[tall, None]
            np.maximum(tails(strip, out[run]), 0.0, out=out[run])


def square_distance(part: Floats, squares: Floats, units: int) -> Floats:
    """(x_i x_i + x_j x_j - 2 x_i x_j) / P, in place, from the products and the sums of squares."""
    part *= -2.0
    part += squares
    part /= units
    return np.maximum(part, 0.0, out=part)
