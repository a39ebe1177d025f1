"""Representational dissimilarity matrices from block products over units; NumPy in, NumPy out.

Notation: x_i is the pattern of stimulus i over P units, repeats averaged first. The distances are
rsatoolbox's:

    correlation   1 - (x_i - m_i)(x_j - m_j) / (|x_i - m_i| |x_j - m_j|),  m_i the mean of x_i over units
    cosine        1 - x_i x_j / (|x_i| |x_j|)
    euclidean     |x_i - x_j|^2 / P          (squared)

All three follow from sums over units of x_i x_j, so a stripe of units gives `moments`, `merge` adds those of
several stripes, and `merged_rdm` finishes. Pairs are in `numpy.triu_indices(k=1)` order, where a range of
rows is one contiguous run, so a large matrix is made in tiles of rows.

NaN is a missing trial: repeats are averaged without it. A stimulus that still has a NaN or an infinity in
any unit (never seen there) has NaN distances to every other stimulus; drop such units or stimuli first to
compare the rest. A pattern that is constant (correlation) or all zero (cosine) has no direction: NaN too.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.kernels.patterns import Distance, Doubles, Floats, Patterns, directions, patterns
from pipeline.kernels.triangle import PANEL, Rows, pairs, products, strips, tails

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


class Moments(NamedTuple):
    """Sums over `units` units, for the rows of one tile.

    products : (time, pair) x_i x_j summed over units, about the means where the metric centres.
    squares, means : (time, stimulus from the first row of the tile on); squares are NaN for an incomplete
    stimulus.
    """

    products: Doubles
    squares: Doubles
    means: Doubles
    units: int


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Precision of the block products: single for what single holds exactly, else double."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def moments_bytes(
    stimuli: int, units: int, times: int, repeats: int, dtype: np.dtype[Any], rows: Rows
) -> int:
    """Peak bytes of `moments` or `rdm`: the block, one time point of patterns, the products, scratch."""
    block = stimuli * units * times * repeats * dtype.itemsize
    height, width = rows[1] - rows[0], stimuli - rows[0]
    averaged = 8 if repeats > 1 else 0
    patterns = width * units * (working_dtype(dtype).itemsize + 2 * averaged)
    panel = min(height, PANEL) * width * working_dtype(dtype).itemsize
    return block + patterns + panel + times * pairs(stimuli, rows) * 8 + SCRATCH


def merge_bytes(stimuli: int, times: int, parts: int, rows: Rows) -> int:
    """Peak bytes of `merge` or `merged_rdm` of `parts` moments: those, and their sum."""
    return (parts + 1) * times * pairs(stimuli, rows) * 8 + SCRATCH


def rdm(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> Doubles:
    """Distances of all pairs whose first stimulus lies in `rows`.

    block : (stimulus, unit, time, repeat), all stimuli and units.    Returns (time, pair), float64.
    """
    first, stop = rows or (0, block.shape[0])
    out = np.empty((block.shape[2], pairs(block.shape[0], (first, stop))))
    y = _room(block, first)
    for t in range(len(out)):
        trials = block[first:, :, t, :]
        if METRICS[metric].angular:
            _fill_angular(out[t], directions(trials, y, METRICS[metric]), y, stop - first)
        else:
            _fill_squared(out[t], patterns(trials, y, METRICS[metric]), stop - first)
    return out


def merged_rdm(parts: Sequence[Moments], *, metric: Metric, rows: Rows | None = None) -> Doubles:
    """Distances from the moments of all stripes of units, added in the order given. Returns (time, pair)."""
    total, sums = _sums(parts, rows)
    angular = METRICS[metric].angular
    direction = np.power(
        total.squares, -0.5, out=np.full_like(total.squares, np.nan), where=total.squares > 0
    )
    for t, tall, wide, part in sums:
        if angular:
            part *= tails(np.multiply.outer(direction[t, tall], direction[t, wide]))
            np.subtract(1.0, part, out=part)
            np.maximum(part, 0.0, out=part)
        else:
            _square(part, tails(np.add.outer(total.squares[t, tall], total.squares[t, wide])), total.units)
    return total.products


def moments(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> Moments:
    """Sums of products over a stripe of units; `block` : (stimulus, unit, time, repeat)."""
    first, stop = rows or (0, block.shape[0])
    stimuli, units, times, _ = block[first:].shape
    out = np.empty((times, pairs(block.shape[0], (first, stop))))
    squares, means = np.empty((times, stimuli)), np.empty((times, stimuli))
    y = _room(block, first)
    for t in range(times):
        made = patterns(block[first:, :, t, :], y, METRICS[metric])
        for strip, _, _, run in _full_products(made, stop - first):
            tails(strip, out[t, run])
        squares[t], means[t] = made.square, made.mean
    return Moments(out, squares, means, units)


def merge(parts: Sequence[Moments], *, rows: Rows | None = None) -> Moments:
    """Moments of several stripes together, added in the order given; no part is changed."""
    total, sums = _sums(parts, rows)
    for _ in sums:
        pass
    return total


def _sums(
    parts: Sequence[Moments], rows: Rows | None
) -> tuple[Moments, Iterator[tuple[int, slice, slice, Doubles]]]:
    """The moments of all parts, whose products come as the iterator is walked: time, rows, columns, products.

    About the common means m: sum_s [C_s + P_s (m_s - m)(m_s - m)'] (Chan, Golub and LeVeque 1979), which
    stays exact where the means are large beside the variance.
    """
    units = sum(part.units for part in parts)
    # From the first one's means on, so that parts of equal means have exactly these: a constant pattern
    # stays one.
    first = parts[0].means
    means = first + np.sum([(part.units / units) * (part.means - first) for part in parts], axis=0)
    # (part, time, stimulus), weighted so that a plain product gives the sum over parts
    offsets = np.stack([np.sqrt(part.units) * (part.means - means) for part in parts])
    squares = np.sum([part.squares for part in parts], axis=0) + np.square(offsets).sum(axis=0)
    out = np.empty_like(parts[0].products)
    height = (rows or (0, squares.shape[1]))[1] - (rows or (0, 0))[0]

    def walk() -> Iterator[tuple[int, slice, slice, Doubles]]:
        for t in range(len(out)):
            for tall, wide, run in strips(squares.shape[1], height):
                out[t, run] = parts[0].products[t, run]
                for part in parts[1:]:
                    out[t, run] += part.products[t, run]
                if offsets[:, t].any():
                    out[t, run] += tails(offsets[:, t, tall].T @ offsets[:, t, wide])
                yield t, tall, wide, out[t, run]

    return Moments(out, squares, means, units), walk()


def _room(block: npt.NDArray[Any], first: int) -> Floats:
    """Room for the patterns of one time point, made once: new memory costs more than writing to it."""
    return np.empty((block.shape[0] - first, block.shape[1]), working_dtype(block.dtype))


def _full_products(made: Patterns, height: int) -> Iterator[tuple[Doubles, slice, slice, slice]]:
    """Yield (x_i - mean_i)(x_j - mean_j) in strips, double; rows, columns and run as `products`."""
    for strip, tall, wide, run in products(made.y, height):
        whole = np.add.outer(made.dot[tall] + made.base, made.dot[wide])
        whole += strip
        whole *= made.norm[tall, None]
        whole *= made.norm[wide]
        yield whole, tall, wide, run


def _fill_angular(out: Doubles, half: Doubles, y: Floats, height: int) -> None:
    """1 - cosine of unit vectors: half their squared distance, which is exact where they are near."""
    half = half.astype(y.dtype)
    for strip, tall, wide, run in products(y, height):
        np.subtract(half[wide], strip, out=strip)
        strip += half[tall, None]
        np.maximum(strip, 0.0, out=strip)  # rounding alone makes a distance negative; NaN stays
        tails(strip, out[run])


def _fill_squared(out: Doubles, made: Patterns, height: int) -> None:
    for whole, tall, wide, run in _full_products(made, height):
        _square(whole, np.add.outer(made.square[tall], made.square[wide]), made.y.shape[1])
        tails(whole, out[run])


def _square(part: Doubles, squares: Doubles, units: int) -> None:
    """(x_i x_i + x_j x_j - 2 x_i x_j) / P, in place, from the products and the sums of squares."""
    part *= -2.0
    part += squares
    part /= units
    np.maximum(part, 0.0, out=part)
