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
    common = _survey(trials, distance)
    dot, square = np.empty(len(y)), np.empty(len(y))
    for rows in common.chunks:
        x = _place(common, rows, y)
        x[:] = y[rows]  # what was kept, not what was rounded away
        dot[rows] = x @ common.shift
        square[rows] = np.vecdot(x, x)
    whole, base = np.isfinite(common.norm), float(common.shift @ common.shift)
    norm = np.where(whole, common.norm, 0.0)
    square = np.where(whole, np.square(norm) * (square + 2 * dot + base), np.nan)
    return Patterns(y, norm, np.where(whole, common.mean, 0.0), dot, base, square)


def directions(trials: npt.NDArray[Any], y: Floats, distance: Distance) -> Doubles:
    """Fill `y` (stimulus, unit) with unit vectors, less what they share; return |y_i|^2 / 2 by stimulus.

    Then 1 - cosine is |y_i|^2 / 2 + |y_j|^2 / 2 - y_i y_j. NaN for an incomplete stimulus and one without
    direction.
    """
    common = _survey(trials, distance)
    half = np.empty(len(y))
    for rows in common.chunks:
        x = _place(common, rows, y)
        half[rows] = np.vecdot(x, x)
    half /= 2
    return np.where(inverse(common.norm) > 0, half, np.nan)


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


@dataclass(frozen=True)
class _Survey:
    """What must be known of all stimuli before the first is placed; `chunks` are runs of them."""

    raw: npt.NDArray[Any]
    chunks: Sequence[slice]
    origin: Doubles
    mean: Doubles
    norm: Doubles
    shift: Doubles


def _survey(trials: npt.NDArray[Any], distance: Distance) -> _Survey:
    stimuli, units, repeats = trials.shape
    step = max(1, CHUNK // max(units, 1))
    chunks = [slice(i, min(i + step, stimuli)) for i in range(0, stimuli, step)]
    # One trial is read as it is, several times; averaging again would cost more than keeping averages.
    raw = trials[..., 0] if repeats == 1 else np.concatenate([mean_trials(trials[rows]) for rows in chunks])
    mean, norm, shift = np.zeros(stimuli), np.empty(stimuli), np.zeros(units)
    with np.errstate(invalid="ignore", over="ignore"):  # an incomplete stimulus; its norm tells
        origin = _origin(raw, chunks) if distance.shiftable else np.zeros(1)
        for rows in chunks:
            if distance.centred:
                mean[rows] = _means(raw[rows])
            x = np.subtract(raw[rows], mean[rows, None] + origin, dtype=np.float64)
            norm[rows] = np.sqrt(np.vecdot(x, x))
            shift += _weighted(x, inverse(norm[rows]))
    return _Survey(raw, chunks, origin, mean, norm, shift / stimuli)


def _place(common: _Survey, rows: slice, y: Floats) -> Doubles:
    """Write y of some stimuli; returns it before it was rounded."""
    with np.errstate(invalid="ignore"):
        x: Doubles = np.subtract(common.raw[rows], common.mean[rows, None] + common.origin, dtype=np.float64)
        x *= inverse(common.norm[rows])[:, None]
        x -= common.shift
    x[~np.isfinite(common.norm[rows])] = 0.0
    y[rows] = x
    return x


def _means(raw: npt.NDArray[Any]) -> Doubles:
    """Mean of each row; of a constant row exactly its value, from which subtracting it leaves exactly zero."""
    mean = raw.mean(axis=1, dtype=np.float64)
    # The rounded mean of a constant row can be one unit in the last place off, and would leave a "pattern".
    near = np.flatnonzero(np.abs(raw[:, 0] - mean) <= 1e-12 * np.abs(mean))
    flat = near[(raw[near] == raw[near, :1]).all(axis=1)]
    mean[flat] = raw[flat, 0]
    return np.asarray(mean)


def _origin(raw: npt.NDArray[Any], chunks: Sequence[slice]) -> Doubles:
    """Mean pattern (unit,), weighted by inverse squared norm so that a huge one does not bury the small."""
    total, weight = np.zeros(raw.shape[1]), 0.0
    for rows in chunks:
        x = raw[rows].astype(np.float64)
        near = inverse(np.vecdot(x, x))
        total += _weighted(x, near)
        weight += near.sum()
    return total / weight if weight > 0 else total


def _weighted(x: Doubles, weights: Doubles) -> Doubles:
    """Weighted sum (unit,) of the rows of `x` that have a weight."""
    used = weights > 0
    return np.asarray(weights @ x if used.all() else weights[used] @ x[used])
