"""Covariance of the noise between channels, and what turns it into the identity."""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Shrinkage = Literal["shrinkage_eye", "shrinkage_diag", "diag", "full"]
Noise = Literal["trials", "baseline"]


class Covariances(NamedTuple):
    """Sum over `times` time points of the shrunk covariances (unit, unit)."""

    total: Doubles
    times: int


def covariances(trials: npt.NDArray[Any], *, noise: Noise, shrinkage: Shrinkage) -> Covariances:
    """Covariance at each time point, shrunk, and summed over time points.

    trials : (stimulus, unit, time, repeat); a trial with a NaN in any unit at that time does not count.
    noise : "trials": what is left of trials after each stimulus's mean is taken out (a stimulus seen once tells
    nothing); "baseline": after the mean of all trials is, for times before any response.
    shrinkage : rsatoolbox's words, see `shrunk`. Raises ValueError where no trial is left at a time point.
    """
    total, times = np.zeros((trials.shape[1],) * 2), trials.shape[2]
    for t in range(times):
        left, dof = residuals(trials[:, :, t, :], by_stimulus=noise == "trials")
        if dof < 1:
            what = "stimuli that were seen twice" if noise == "trials" else "two trials"
            raise ValueError(f"noise cannot be told: wanted {what} without a missing value in any unit")
        total += shrunk(left, dof, shrinkage)
    return Covariances(total, times)


def residuals(trials: npt.NDArray[Any], *, by_stimulus: bool) -> tuple[Doubles, int]:
    """Complete trials less the mean of theirs, (trial, unit), and the degrees of freedom left.

    trials : (stimulus, unit, repeat).  by_stimulus : means of each stimulus, else of all.
    """
    x = np.moveaxis(np.asarray(trials, np.float64), 1, 2)  # (stimulus, repeat, unit)
    whole = np.isfinite(x).all(axis=2)
    if not by_stimulus:
        rows = x[whole]
        return (rows - rows.mean(axis=0), len(rows) - 1) if len(rows) else (rows, 0)
    whole &= (whole.sum(axis=1) > 1)[:, None]
    seen = whole.sum(axis=1)
    mean = np.where(whole[:, :, None], x, 0.0).sum(axis=1) / np.maximum(seen, 1)[:, None]
    return (x - mean[:, None])[whole], int(seen.sum() - (seen > 0).sum())


def shrunk(left: Doubles, dof: int, how: Shrinkage) -> Doubles:
    """Covariance (unit, unit) of residuals (trial, unit), pulled towards a simpler one.

    "full": X'X / dof.  "diag": its diagonal.  "shrinkage_eye": towards the mean variance (Ledoit and Wolf 2004).
    "shrinkage_diag": towards the diagonal (Schaefer and Strimmer 2005). As rsatoolbox defines them.
    """
    n, units = left.shape
    products = left.T @ left
    if how == "full":
        return np.asarray(products / dof)
    if how == "diag":
        return np.diag(np.diag(products)) / dof
    squares = np.square(left)
    fourth = squares.T @ squares  # sum over trials of x_i^2 x_j^2
    if how == "shrinkage_eye":
        s = products / n
        target = np.trace(s) / units * np.eye(units)
        away = np.square(s - target).sum()
        spread = min((fourth / n - np.square(s)).sum() / n, away)
        weight = spread / away if away > 0 else 0.0
        return np.asarray((weight * target + (1 - weight) * s) * (n / dof))
    return _towards_diagonal(products, fourth, n, dof)


def whitener(sums: Covariances) -> Doubles:
    """sigma^(-1/2), symmetric, of the mean covariance sigma.

    Directions with less than 1e-12 of the largest variance hold no noise at all (an average reference takes one
    out, signal space separation many); they become zero rather than huge.
    """
    values, axes = np.linalg.eigh(sums.total / sums.times)
    kept = values > 1e-12 * values[-1]
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return np.asarray((axes * scale) @ axes.T)


def whitened(values: npt.NDArray[Any], weights: Doubles) -> npt.NDArray[Any]:
    """sum_v W_uv x_v: (stimulus, unit, time, repeat), in the precision of the values; NaN where a unit is."""
    out = np.einsum("uv,svtr->sutr", weights, np.asarray(values, np.float64), optimize=True)
    return np.asarray(out, values.dtype if values.dtype.kind == "f" else np.float64)


def _towards_diagonal(products: Doubles, fourth: Doubles, n: int, dof: int) -> Doubles:
    s = products / dof
    std = np.sqrt(np.diag(s))
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    r = products * scale * scale[:, None] / (n - 1)
    r2 = fourth * np.square(scale) * np.square(scale)[:, None] / (n - 1)
    off = ~np.eye(len(s), dtype=bool)
    strength = np.square(r[off]).sum()
    weight = (n / dof**2 * (r2 - np.square(r))[off]).sum() / strength if strength > 0 else 1.0
    return np.where(off, s * (1 - min(max(weight, 0.0), 1.0)), s)
