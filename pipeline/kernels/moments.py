"""RDMs of many units in stripes: `moments` of each, `merge` to add those of several, `merged_rdm` to finish.

All distances of `pipeline.kernels.rdm` follow from means and squares of each x_i, and sums over units of x_i x_j.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.kernels.patterns import Doubles, Floats, common, patterns
from pipeline.kernels.rdm import (
    METRICS,
    SCRATCH,
    Metric,
    full_products,
    make_room,
    rdm_bytes,
    square_distance,
    working_dtype,
)
from pipeline.kernels.triangle import Rows, pairs, strips, tails


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


def moments_bytes(
    stimuli: int, units: int, times: int, repeats: int, dtype: np.dtype[Any], rows: Rows
) -> int:
    """Peak bytes of `moments`: as `rdm`, with the sums of products, which are double, for distances."""
    wider = 8 - working_dtype(dtype).itemsize
    made = rdm_bytes(stimuli, units, times, repeats, dtype, rows)
    return made + times * pairs(stimuli, rows) * wider


def merge_bytes(stimuli: int, times: int, parts: int, rows: Rows) -> int:
    """Peak bytes of `merge` or `merged_rdm` of `parts` moments: those, and their sum or its distances."""
    return (parts + 1) * times * pairs(stimuli, rows) * 8 + SCRATCH


def merged_rdm(
    parts: Sequence[Moments], *, metric: Metric, dtype: npt.DTypeLike = np.float64, rows: Rows | None = None
) -> Floats:
    """Distances from the moments of all stripes of units, added in the order given.

    Returns (time, pair), rounded to `dtype` at the end.
    """
    sums = _sums(parts)
    out: Floats = np.empty(parts[0].products.shape, dtype)
    direction = np.power(sums.squares, -0.5, out=np.full_like(sums.squares, np.nan), where=sums.squares > 0)
    for t, tall, wide, run, part in _summed(parts, sums, rows):
        if METRICS[metric].angular:
            part *= tails(np.multiply.outer(direction[t, tall], direction[t, wide]))
            np.subtract(1.0, part, out=part)
            np.maximum(part, 0.0, out=out[t, run])
        else:
            out[t, run] = square_distance(
                part, tails(np.add.outer(sums.squares[t, tall], sums.squares[t, wide])), sums.units
            )
    return out


def moments(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> Moments:
    """Sums of products over a stripe of units; `block` : (stimulus, unit, time, repeat)."""
    first, stop = rows or (0, block.shape[0])
    stimuli, units, times, _ = block[first:].shape
    out = np.empty((times, pairs(block.shape[0], (first, stop))))
    squares, means = np.empty((times, stimuli)), np.empty((times, stimuli))
    y, space = make_room(block, (first, stop))
    for t in range(times):
        trials = block[first:, :, t, :]
        made = patterns(trials, y, common(trials, METRICS[metric]), METRICS[metric])
        for strip, _, _, run in full_products(made, space):
            tails(strip, out[t, run])
        squares[t], means[t] = made.square, made.mean
    return Moments(out, squares, means, units)


def merge(parts: Sequence[Moments], *, rows: Rows | None = None) -> Moments:
    """Moments of several stripes together, added in the order given; no part is changed."""
    sums = _sums(parts)
    out = np.empty_like(parts[0].products)
    for t, _, _, run, part in _summed(parts, sums, rows):
        out[t, run] = part
    return Moments(out, sums.squares, sums.means, sums.units)


class _Sums(NamedTuple):
    """Of all parts together; `offsets` (part, time, stimulus) are the parts' means about the common ones,
    weighted so that a plain product sums over parts."""

    squares: Doubles
    means: Doubles
    offsets: Doubles
    units: int


def _sums(parts: Sequence[Moments]) -> _Sums:
    units = sum(part.units for part in parts)
    # From the first one's means on, so that parts of equal means have exactly these: a constant pattern
    # stays one.
    first = parts[0].means
    means = first + np.sum([(part.units / units) * (part.means - first) for part in parts], axis=0)
    offsets = np.stack([np.sqrt(part.units) * (part.means - means) for part in parts])
    squares = np.sum([part.squares for part in parts], axis=0) + np.square(offsets).sum(axis=0)
    return _Sums(squares, means, offsets, units)


def _summed(
    parts: Sequence[Moments], sums: _Sums, rows: Rows | None
) -> Iterator[tuple[int, slice, slice, slice, Doubles]]:
    """Yield the products of all parts in strips: time, rows, columns, run of pairs, and the strip, to be used up.

    About the common means m: sum_s [C_s + P_s (m_s - m)(m_s - m)'] (Chan, Golub and LeVeque 1979), which
    stays exact where the means are large beside the variance.
    """
    width = sums.squares.shape[1]
    height = (rows or (0, width))[1] - (rows or (0, 0))[0]
    for t in range(len(sums.squares)):
        moved = bool(sums.offsets[:, t].any())
        for tall, wide, run in strips(width, height):
            strip = parts[0].products[t, run].copy()
            for part in parts[1:]:
                strip += part.products[t, run]
            if moved:
                strip += tails(sums.offsets[:, t, tall].T @ sums.offsets[:, t, wide])
            yield t, tall, wide, run, strip
