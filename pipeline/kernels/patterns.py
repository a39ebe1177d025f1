"""Patterns of one time point, so written that products in single precision lose little.

Rounding a product costs in proportion to its size, so what all stimuli share is taken out first, in double
precision: x_i = mean_i + norm_i (y_i + shift), where y_i is what tells stimulus i from the others. Only y_i
is kept in the precision of the data, once; means, norms and the shared part stay double.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

CHUNK: Final = 2**18
"""Values prepared at once in float64: few enough to stay in cache, enough that threads seldom wait for Python."""
SAMPLE: Final = 128
"""Stimuli from which what all of them share is estimated."""


@dataclass(frozen=True)
class Distance:
    """What a metric does with patterns.

    centred : each loses its own mean over units.  angular : only directions count, else differences.
    shiftable : moving all patterns together changes nothing, so they are moved to where sums are most exact.
    """

    centred: bool = False
    angular: bool = False
    shiftable: bool = False


class Patterns(NamedTuple):
    """(x_i - mean_i)(x_j - mean_j) = norm_i norm_j (y_i y_j + dot_i + dot_j), all by stimulus.

    square : |x_i - mean_i|^2; NaN for an incomplete stimulus, whose y and norm are 0.
    """

    y: Floats
    norm: Doubles
    mean: Doubles
    dot: Doubles
    square: Doubles


class Directions(NamedTuple):
    """1 - cosine of x_i - mean_i and x_j - mean_j = half_i + half_j - y_i y_j, by stimulus.

    half : |y_i|^2 / 2; NaN for an incomplete stimulus and one without direction.
    """

    y: Floats
    half: Doubles


class Common(NamedTuple):
    """What stimuli share, (unit,) each: `origin` of their patterns and `shift` of their directions from there."""

    origin: Doubles
    shift: Doubles


def common(trials: npt.NDArray[Any], distance: Distance) -> Common:
    """What the stimuli of trials (stimulus, unit, repeat) share, estimated from SAMPLE of them: any shift gives
    the same distances, one that is near gives them more exactly."""
    if len(trials) > SAMPLE:  # at random, for stimuli come in blocks and cycles
        some = np.random.default_rng(len(trials)).choice(len(trials), SAMPLE, replace=False)
        shared, used = _estimated(trials, distance, np.sort(some))
        if used:
            return shared
    return _estimated(trials, distance)[0]


def patterns(trials: npt.NDArray[Any], y: Floats, shared: Common, distance: Distance) -> Patterns:
    """Fill `y` (stimulus, unit) from trials (stimulus, unit, repeat) and return it with what completes it."""
    mean, norm, dot, square = np.empty((4, len(y)))
    for rows, x in _averaged(trials):
        mean[rows], norm[rows] = _place(x, shared, distance, y[rows])
        x[:] = y[rows]  # what was kept, not what was rounded away
        dot[rows] = x @ shared.shift
        square[rows] = np.vecdot(x, x)
    dot += shared.shift @ shared.shift / 2
    whole = np.isfinite(norm)
    square = np.where(whole, np.square(norm) * (square + 2 * dot), np.nan)
    return Patterns(y, np.where(whole, norm, 0.0), np.where(whole, mean, 0.0), dot, square)


def directions(trials: npt.NDArray[Any], y: Floats, shared: Common, distance: Distance) -> Directions:
    """Fill `y` (stimulus, unit) with unit vectors, less what they share, and return it with what completes it."""
    half, norm = np.empty((2, len(y)))
    for rows, x in _averaged(trials):
        _, norm[rows] = _place(x, shared, distance, y[rows])
        half[rows] = np.vecdot(x, x)
    half /= 2
    return Directions(y, np.where(inverse(norm) > 0, half, np.nan))


def inverse(norm: Doubles) -> Doubles:
    """1 / norm, and 0 where there is no direction: a zero, infinite or NaN norm."""
    usable = np.isfinite(norm) & (norm > 0)
    return np.divide(1.0, norm, out=np.zeros_like(norm), where=usable)


def _averaged(trials: npt.NDArray[Any], some: Places | None = None) -> Iterator[tuple[slice, Doubles]]:
    """Yield rows and their patterns (stimulus, unit), to be used up: the next ones take the same memory.

    some : only these stimuli, of which rows are counted then.
    """
    stimuli, units = len(trials if some is None else some), trials.shape[1]
    step = max(1, min(CHUNK // max(units, 1), stimuli))
    space = np.empty((step, units))
    for start in range(0, stimuli, step):
        rows = slice(start, min(start + step, stimuli))
        yield rows, _average(trials, rows if some is None else some[rows], space[: rows.stop - start])


def _average(trials: npt.NDArray[Any], rows: slice | Places, out: Doubles) -> Doubles:
    """Mean of these rows over the last axis without NaN; NaN where there is no trial at all."""
    if trials.shape[-1] == 1:
        out[:] = trials[..., 0][rows]
        return out
    seen = np.zeros_like(out)
    out[:] = 0.0
    for repeat in np.moveaxis(trials, -1, 0):
        trial = repeat[rows]
        there = ~np.isnan(trial)
        np.add(out, trial, out=out, where=there)
        seen += there
    np.divide(out, seen, out=out, where=seen > 0)
    out[seen == 0] = np.nan
    return out


def _estimated(
    trials: npt.NDArray[Any], distance: Distance, some: Places | None = None
) -> tuple[Common, int]:
    """What stimuli share, and how many have a direction."""
    origin, shift = np.zeros((2, trials.shape[1]))
    used = 0
    with np.errstate(invalid="ignore", over="ignore"):
        if distance.shiftable:
            origin = _origin(trials, some)
        for _, x in _averaged(trials, some):
            _, norm = _centre(x, origin, distance)
            weights = inverse(norm)
            shift += _weighted(x, weights)
            used += int(np.count_nonzero(weights))
    return Common(origin, shift / max(used, 1)), used


def _place(x: Doubles, shared: Common, distance: Distance, y: Floats) -> tuple[Doubles, Doubles]:
    """Write y of patterns `x`, which become what it was before it was rounded; returns their means and norms."""
    with np.errstate(invalid="ignore", over="ignore"):  # an incomplete stimulus; its norm tells
        mean, norm = _centre(x, shared.origin, distance)
        x *= inverse(norm)[:, None]
        x -= shared.shift
    if not np.isfinite(norm).all():
        x[~np.isfinite(norm)] = 0.0
    y[:] = x
    return mean, norm


def _centre(x: Doubles, origin: Doubles, distance: Distance) -> tuple[Doubles, Doubles]:
    """Bring patterns about their means and the origin, in place; returns means and norms."""
    mean = np.zeros(len(x))
    if distance.centred:
        mean = _means(x)
        x -= mean[:, None]
    if distance.shiftable:
        x -= origin
    return mean, np.sqrt(np.vecdot(x, x))


def _means(x: Doubles) -> Doubles:
    """Mean of each row; of a constant row exactly its value, from which subtracting it leaves exactly zero."""
    mean = x.mean(axis=1)
    # The rounded mean of a constant row can be one unit in the last place off, and would leave a "pattern".
    near = np.flatnonzero(np.abs(x[:, 0] - mean) <= 1e-12 * np.abs(mean))
    flat = near[(x[near] == x[near, :1]).all(axis=1)]
    mean[flat] = x[flat, 0]
    return np.asarray(mean)


def _origin(trials: npt.NDArray[Any], some: Places | None) -> Doubles:
    """Mean pattern (unit,), weighted by inverse squared norm so that a huge one does not bury the small."""
    total, weight = np.zeros(trials.shape[1]), 0.0
    for _, x in _averaged(trials, some):
        near = inverse(np.vecdot(x, x))
        total += _weighted(x, near)
        weight += near.sum()
    return total / weight if weight > 0 else total


def _weighted(x: Doubles, weights: Doubles) -> Doubles:
    """Weighted sum (unit,) of the rows of `x` that have a weight."""
    used = weights > 0
    return np.asarray(weights @ x if used.all() else weights[used] @ x[used])
