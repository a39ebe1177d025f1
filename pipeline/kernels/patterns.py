"""Patterns of one time point, so written that products in single precision lose little.

Rounding a product costs in proportion to its size, so what all stimuli share is taken out first, in double
precision: x_i = mean_i + norm_i (y_i + shift), where y_i is what tells stimulus i from the others. Only y_i
is kept in the precision of the data, once; means, norms and the shared part stay double.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]

CHUNK: Final = 2**16
"""Values prepared at once in float64, so that the passes over them stay in cache."""
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
    """(x_i - mean_i)(x_j - mean_j) = norm_i norm_j (y_i y_j + dot_i + dot_j + base), all by stimulus.

    square : |x_i - mean_i|^2; NaN for an incomplete stimulus, whose y and norm are 0.
    """

    y: Floats
    norm: Doubles
    mean: Doubles
    dot: Doubles
    base: float
    square: Doubles


def patterns(trials: npt.NDArray[Any], y: Floats, distance: Distance) -> Patterns:
    """Fill `y` (stimulus, unit) from trials (stimulus, unit, repeat) and return it with what completes it."""
    common = _common(trials, distance)
    mean, norm, dot, square = np.empty((4, len(y)))
    for rows in _chunks(*y.shape):
        x, mean[rows], norm[rows] = _placed(trials[rows], common, distance, y[rows])
        x[:] = y[rows]  # what was kept, not what was rounded away
        dot[rows] = x @ common.shift
        square[rows] = np.vecdot(x, x)
    whole, base = np.isfinite(norm), float(common.shift @ common.shift)
    square = np.where(whole, np.square(norm) * (square + 2 * dot + base), np.nan)
    return Patterns(y, np.where(whole, norm, 0.0), np.where(whole, mean, 0.0), dot, base, square)


def directions(trials: npt.NDArray[Any], y: Floats, distance: Distance) -> Doubles:
    """Fill `y` (stimulus, unit) with unit vectors, less what they share; return |y_i|^2 / 2 by stimulus.

    Then 1 - cosine is |y_i|^2 / 2 + |y_j|^2 / 2 - y_i y_j. NaN for an incomplete stimulus and one without
    direction.
    """
    common = _common(trials, distance)
    half, norm = np.empty((2, len(y)))
    for rows in _chunks(*y.shape):
        x, _, norm[rows] = _placed(trials[rows], common, distance, y[rows])
        half[rows] = np.vecdot(x, x)
    half /= 2
    return np.where(inverse(norm) > 0, half, np.nan)


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


def inverse(norm: Doubles) -> Doubles:
    """1 / norm, and 0 where there is no direction: a zero, infinite or NaN norm."""
    usable = np.isfinite(norm) & (norm > 0)
    return np.divide(1.0, norm, out=np.zeros_like(norm), where=usable)


class _Common(NamedTuple):
    """What stimuli share, (unit,) each: `origin` of their patterns and `shift` of their directions from there."""

    origin: Doubles
    shift: Doubles


def _common(trials: npt.NDArray[Any], distance: Distance) -> _Common:
    """Estimated from SAMPLE stimuli: any shift gives the same distances, one that is near gives exact ones."""
    if len(trials) > SAMPLE:  # at random, for stimuli come in blocks and cycles
        some = np.random.default_rng(len(trials)).choice(len(trials), SAMPLE, replace=False)
        common, used = _estimated(trials[np.sort(some)], distance)
        if used:
            return common
    return _estimated(trials, distance)[0]


def _estimated(trials: npt.NDArray[Any], distance: Distance) -> tuple[_Common, int]:
    """What stimuli share, and how many have a direction."""
    stimuli, units, _ = trials.shape
    chunks, used = _chunks(stimuli, units), 0
    origin, shift = np.zeros(units), np.zeros(units)
    with np.errstate(invalid="ignore", over="ignore"):
        if distance.shiftable:
            origin = _origin(trials, chunks)
        for rows in chunks:
            x, _, norm = _centred(trials[rows], origin, distance)
            weights = inverse(norm)
            shift += _weighted(x, weights)
            used += int(np.count_nonzero(weights))
    return _Common(origin, shift / max(used, 1)), used


def _placed(
    trials: npt.NDArray[Any], common: _Common, distance: Distance, y: Floats
) -> tuple[Doubles, Doubles, Doubles]:
    """Write y of some stimuli; returns it before it was rounded, and their means and norms."""
    with np.errstate(invalid="ignore", over="ignore"):  # an incomplete stimulus; its norm tells
        x, mean, norm = _centred(trials, common.origin, distance)
        x *= inverse(norm)[:, None]
        x -= common.shift
    if not np.isfinite(norm).all():
        x[~np.isfinite(norm)] = 0.0
    y[:] = x
    return x, mean, norm


def _centred(
    trials: npt.NDArray[Any], origin: Doubles, distance: Distance
) -> tuple[Doubles, Doubles, Doubles]:
    """Patterns averaged over repeats, about their means and the origin; with means and norms."""
    x = mean_trials(trials)
    mean = _means(x) if distance.centred else np.zeros(len(x))
    if distance.centred:
        x -= mean[:, None]
    if distance.shiftable:
        x -= origin
    return x, mean, np.sqrt(np.vecdot(x, x))


def _chunks(stimuli: int, units: int) -> list[slice]:
    step = max(1, CHUNK // max(units, 1))
    return [slice(i, min(i + step, stimuli)) for i in range(0, stimuli, step)]


def _means(x: Doubles) -> Doubles:
    """Mean of each row; of a constant row exactly its value, from which subtracting it leaves exactly zero."""
    mean = x.mean(axis=1)
    # The rounded mean of a constant row can be one unit in the last place off, and would leave a "pattern".
    near = np.flatnonzero(np.abs(x[:, 0] - mean) <= 1e-12 * np.abs(mean))
    flat = near[(x[near] == x[near, :1]).all(axis=1)]
    mean[flat] = x[flat, 0]
    return np.asarray(mean)


def _origin(trials: npt.NDArray[Any], chunks: Sequence[slice]) -> Doubles:
    """Mean pattern (unit,), weighted by inverse squared norm so that a huge one does not bury the small."""
    total, weight = np.zeros(trials.shape[1]), 0.0
    for rows in chunks:
        x = mean_trials(trials[rows])
        near = inverse(np.vecdot(x, x))
        total += _weighted(x, near)
        weight += near.sum()
    return total / weight if weight > 0 else total


def _weighted(x: Doubles, weights: Doubles) -> Doubles:
    """Weighted sum (unit,) of the rows of `x` that have a weight."""
    used = weights > 0
    return np.asarray(weights @ x if used.all() else weights[used] @ x[used])
