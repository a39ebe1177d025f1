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
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Metric = Literal["correlation", "euclidean", "cosine"]
Floats = npt.NDArray[np.floating[Any]]
Rows = tuple[int, int]
"""First row of a tile and the one after its last; `(0, stimuli)` is the whole matrix."""

PANEL: Final = 256
"""Rows of the product made at once: enough for BLAS to run at full speed."""
STRIP: Final = 32
"""Rows of a panel finished at once: few enough for the passes over them to stay in cache."""
CHUNK: Final = 2**16
"""Values prepared at once in float64, so that the passes over them stay in cache."""
SCRATCH: Final = 16 * 2**20
"""Bytes of the small buffers of any task here: strips and chunks of doubles, BLAS's own packing."""


class Moments(NamedTuple):
    """Sums over `units` units, for the rows of one tile.

    products : (time, pair) x_i x_j summed over units, about the means where the metric centres.
    squares, means : (time, stimulus from the first row of the tile on); squares are NaN for an incomplete
    stimulus.
    """

    products: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    units: int


class Patterns(NamedTuple):
    """Patterns of one time point, so written that products of single precision lose little.

    x_i = mean_i + norm_i (y_i + shift): normalised, and freed of what all stimuli share. Then
    (x_i - mean_i)(x_j - mean_j) = norm_i norm_j (y_i y_j + dot_i + dot_j + base), and only y_i y_j, the part
    in which stimuli differ, is rounded to the precision of `y`.
    """

    y: Floats
    norm: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    dot: npt.NDArray[np.float64]
    base: float
    square: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """What a metric does with patterns.

    centred : each loses its own mean over units.  angular : only directions count, else differences.
    shiftable : moving all patterns together changes nothing, so they are moved to where sums are most exact.
    """

    centred: bool = False
    angular: bool = False
    shiftable: bool = False


METRICS: Final[Mapping[str, Distance]] = MappingProxyType(
    {
        "correlation": Distance(centred=True, angular=True),
        "euclidean": Distance(shiftable=True),
        "cosine": Distance(angular=True),
    }
)


def pairs(stimuli: int, rows: Rows | None = None) -> int:
    """Number of pairs (i, j > i) of `stimuli` whose i lies in `rows` (all by default)."""
    first, stop = rows or (0, stimuli)
    return (stop - first) * (2 * stimuli - first - stop - 1) // 2


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


def rdm(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> npt.NDArray[np.float64]:
    """Distances of all pairs whose first stimulus lies in `rows`.

    block : (stimulus, unit, time, repeat), all stimuli and units.    Returns (time, pair), float64.
    """
    first, stop = rows or (0, block.shape[0])
    distance, y = METRICS[metric], _room(block, first)
    out = np.empty((block.shape[2], pairs(block.shape[0], (first, stop))))
    for t in range(len(out)):
        patterns = _patterns(block[first:, :, t, :], y, distance)
        square = patterns.square
        scale = patterns.norm * _direction(square) if distance.angular else patterns.norm
        for strip, tall, wide, run in _products(patterns, scale, stop - first):
            if distance.angular:  # what the strip holds are cosines already
                _to_angular(strip)
            else:
                _to_squared(strip, np.add.outer(square[tall], square[wide]), y.shape[1])
            _tails(strip, out[t, run])
    return out


def merged_rdm(
    parts: Sequence[Moments], *, metric: Metric, rows: Rows | None = None
) -> npt.NDArray[np.float64]:
    """Distances from the moments of all stripes of units, added in the order given. Returns (time, pair)."""
    first, stop = rows or (0, parts[0].squares.shape[1])
    total, distance = merge(parts, rows=(first, stop)), METRICS[metric]
    for out, square in zip(total.products, total.squares, strict=True):
        inverse = _direction(square)
        for tall, wide, run in _strips(len(square), stop - first):
            if distance.angular:
                out[run] *= _tails(np.multiply.outer(inverse[tall], inverse[wide]))
                _to_angular(out[run])
            else:
                _to_squared(out[run], _tails(np.add.outer(square[tall], square[wide])), total.units)
    return total.products


def moments(block: npt.NDArray[Any], *, metric: Metric, rows: Rows | None = None) -> Moments:
    """Sums of products over a stripe of units; `block` : (stimulus, unit, time, repeat)."""
    first, stop = rows or (0, block.shape[0])
    stimuli, units, times, _ = block[first:].shape
    products = np.empty((times, pairs(block.shape[0], (first, stop))))
    squares, means = np.empty((times, stimuli)), np.empty((times, stimuli))
    y = _room(block, first)
    for t in range(times):
        patterns = _patterns(block[first:, :, t, :], y, METRICS[metric])
        for strip, _, _, run in _products(patterns, patterns.norm, stop - first):
            _tails(strip, products[t, run])
        squares[t], means[t] = patterns.square, patterns.mean
    return Moments(products, squares, means, units)


def merge(parts: Sequence[Moments], *, rows: Rows | None = None) -> Moments:
    """Moments of several stripes together, added in the order given; no part is changed.

    About the common means m: sum_s [C_s + P_s (m_s - m)(m_s - m)'] (Chan, Golub and LeVeque 1979), which
    stays exact where the means are large beside the variance.
    """
    first, stop = rows or (0, parts[0].squares.shape[1])
    units = sum(part.units for part in parts)
    # From the first one's means on, so that parts with equal means have exactly these: a constant pattern
    # stays one.
    means = parts[0].means + np.sum(
        [(part.units / units) * (part.means - parts[0].means) for part in parts], axis=0
    )
    products = parts[0].products.copy()
    for part in parts[1:]:
        products += part.products
    # (part, time, stimulus), weighted so that a plain product gives the sum over parts
    offsets = np.stack([np.sqrt(part.units) * (part.means - means) for part in parts])
    squares = np.sum([part.squares for part in parts], axis=0) + np.square(offsets).sum(axis=0)
    if offsets.any():
        for t in range(len(products)):
            for tall, wide, run in _strips(squares.shape[1], stop - first):
                products[t, run] += _tails(offsets[:, t, tall].T @ offsets[:, t, wide])
    return Moments(products, squares, means, units)


def mean_trials(trials: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean over the last axis without NaN, in float64; NaN where there is no trial at all. A new array."""
    if trials.shape[-1] == 1:
        return trials[..., 0].astype(np.float64)
    total, seen = np.zeros(trials.shape[:-1]), np.zeros(trials.shape[:-1])
    for r in range(trials.shape[-1]):
        trial = trials[..., r]
        there = ~np.isnan(trial)
        np.add(total, trial, out=total, where=there)
        seen += there
    return np.divide(total, seen, out=np.full_like(total, np.nan), where=seen > 0)


def _room(block: npt.NDArray[Any], first: int) -> Floats:
    """Room for the patterns of one time point, made once: new memory costs more than writing to it."""
    return np.empty((block.shape[0] - first, block.shape[1]), working_dtype(block.dtype))


def _patterns(trials: npt.NDArray[Any], y: Floats, distance: Distance) -> Patterns:
    """Fill `y` from trials (stimulus, unit, repeat); see `Patterns`."""
    stimuli, units = y.shape
    norm, mean, dot, square = np.empty(stimuli), np.empty(stimuli), np.empty(stimuli), np.empty(stimuli)
    step = max(1, CHUNK // max(units, 1))
    chunks = [slice(i, min(i + step, stimuli)) for i in range(0, stimuli, step)]
    if trials.shape[-1] > 1:  # read several times below; averaging again would cost more than keeping it
        trials = np.concatenate([mean_trials(trials[rows]) for rows in chunks])[..., None]
    with np.errstate(invalid="ignore", over="ignore"):  # an incomplete stimulus; its norm tells
        origin, shift = _origin(trials, chunks) if distance.shiftable else None, np.zeros(units)
        for rows in chunks:
            x = _read(trials[rows], origin)
            mean[rows] = _centre(x) if distance.centred else 0.0
            norm[rows] = np.sqrt(np.vecdot(x, x))
            shift += _weighted(x, _inverse(norm[rows]))
        shift /= max(stimuli, 1)
        for rows in chunks:
            x = _read(trials[rows], origin)
            x -= mean[rows, None]
            x *= _inverse(norm[rows])[:, None]
            x -= shift
            x[~np.isfinite(norm[rows])] = 0.0
            y[rows] = x
            x[:] = y[rows]  # what was kept, not what was rounded away
            dot[rows] = x @ shift
            square[rows] = np.vecdot(x, x)
    whole, base = np.isfinite(norm), float(shift @ shift)
    norm = np.where(whole, norm, 0.0)
    square = np.where(whole, np.square(norm) * (square + 2 * dot + base), np.nan)
    return Patterns(y, norm, np.where(whole, mean, 0.0), dot, base, square)


def _read(trials: npt.NDArray[Any], origin: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    """Patterns (stimulus, unit) of some stimuli in double precision, moved to `origin`."""
    x = mean_trials(trials)
    if origin is not None:
        x -= origin
    return x


def _origin(trials: npt.NDArray[Any], chunks: Sequence[slice]) -> npt.NDArray[np.float64]:
    """Mean pattern (unit,), weighted by inverse squared norm so that a huge one does not bury the small."""
    total, weight = np.zeros(trials.shape[1]), 0.0
    for rows in chunks:
        x = mean_trials(trials[rows])
        near = _inverse(np.vecdot(x, x))
        total += _weighted(x, near)
        weight += near.sum()
    return total / weight if weight > 0 else total


def _weighted(x: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weighted sum (unit,) of the rows of `x` that have a weight."""
    used = weights > 0
    return np.asarray(weights @ x if used.all() else weights[used] @ x[used])


def _inverse(norm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / norm, and 0 where there is no direction: a zero, infinite or NaN norm."""
    usable = np.isfinite(norm) & (norm > 0)
    return np.divide(1.0, norm, out=np.zeros_like(norm), where=usable)


def _direction(square: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / |x|; NaN, which no product undoes, for what is incomplete or has no direction."""
    return np.power(square, -0.5, out=np.full_like(square, np.nan), where=square > 0)


def _centre(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Subtract the mean of each row of `x` in place and return it; constant rows become exactly zero."""
    mean = x.mean(axis=1)
    x -= mean[:, None]
    # The rounded mean of a constant row can be one unit in the last place off, and would leave a "pattern".
    near = np.flatnonzero(np.abs(x[:, 0]) <= 1e-12 * np.abs(mean))
    flat = near[(x[near] == x[near, :1]).all(axis=1)]
    mean[flat] += x[flat, 0]
    x[flat] = 0.0
    return np.asarray(mean)


def _products(
    patterns: Patterns, scale: npt.NDArray[np.float64], height: int
) -> Iterator[tuple[npt.NDArray[np.float64], slice, slice, slice]]:
    """Yield scale_i scale_j (y_i + shift)(y_j + shift) in strips of the first `height` rows.

    Panels of rows against the rows from there on: half the arithmetic of the square, which is never held
    whole. (One BLAS syrk does no less, holds the square, and SciPy's keeps Python's lock for as long as it
    runs.)
    """
    y, dot, base = patterns.y, patterns.dot, patterns.base
    for start in range(0, height, PANEL):
        stop = min(start + PANEL, height)
        panel = y[start:stop] @ y[start:].T
        for tall, wide, run in _strips(len(y), stop, start):
            strip = np.add.outer(dot[tall] + base, dot[wide])
            strip += panel[tall.start - start : tall.stop - start, tall.start - start :]
            strip *= scale[tall, None]
            strip *= scale[wide]
            yield strip, tall, wide, run


def _to_angular(cosines: npt.NDArray[np.float64]) -> None:
    """1 - cosine, in place; rounding alone makes it negative."""
    np.subtract(1.0, cosines, out=cosines)
    np.maximum(cosines, 0.0, out=cosines)


def _to_squared(products: npt.NDArray[np.float64], squares: npt.NDArray[np.float64], units: int) -> None:
    """(x_i x_i + x_j x_j - 2 x_i x_j) / P, in place, from the products and the sums of squares."""
    products *= -2.0
    products += squares
    products /= units
    np.maximum(products, 0.0, out=products)


def _strips(width: int, stop: int, start: int = 0) -> Iterator[tuple[slice, slice, slice]]:
    """Runs of at most STRIP rows from `start` to `stop`: rows, columns, place of their pairs in the tile."""
    for first in range(start, stop, STRIP):
        last = min(first + STRIP, stop)
        run = slice(pairs(width, (0, first)), pairs(width, (0, last)))
        yield slice(first, last), slice(first, None), run


def _tails(strip: Floats, out: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Condense a strip that begins at its first row's diagonal: right of the diagonal, row after row."""
    height, width = strip.shape
    if out is None:
        out = np.empty(pairs(width, (0, height)))
    end = 0
    for i in range(height):
        begin, end = end, end + width - 1 - i
        out[begin:end] = strip[i, i + 1 :]
    return out
