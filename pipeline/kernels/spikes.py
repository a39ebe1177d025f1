"""Binned spikes (stimulus, unit, time, repeat): bins joined, trials averaged. NaN is a trial that was not."""

from typing import Any

import numpy as np
import numpy.typing as npt


def join_bins(values: npt.NDArray[Any], factor: int, mean: bool = False) -> npt.NDArray[Any]:
    """Sums of each `factor` neighbouring bins, ``y[k] = sum_j x[k factor + j]``, or their means (for rates).

    values : (stimulus, unit, time, repeat), time a multiple of `factor`.  Returns (stimulus, unit, time / factor,
    repeat): whole numbers as int64, float32 as it was (exact up to 2**24 spikes in a bin), NaN where one is.
    """
    stimuli, units, times, repeats = values.shape
    parts = values.reshape(stimuli, units, times // factor, factor, repeats)
    if values.dtype.kind in "iu" and not mean:
        return np.asarray(parts.sum(axis=3, dtype=np.int64))
    joined = np.asarray((parts.mean if mean else parts.sum)(axis=3, dtype=np.float64))
    return joined.astype(values.dtype if values.dtype.kind == "f" else np.float64)


def mean_of_trials(values: npt.NDArray[Any], width: float) -> npt.NDArray[np.float64]:
    """Spikes a second over all trials there were, ``sum_r n[r] / (R width)``; NaN where there was none.

    values : counts (stimulus, unit, time, repeat).  width : of a bin, s.  Returns (stimulus, unit, time, 1).
    Sums of counts are exact in double precision, so the order of trials changes no bit.
    """
    there = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    total = np.where(there, values, 0).sum(axis=3, keepdims=True, dtype=np.float64)
    trials = there.sum(axis=3, keepdims=True)
    rate = np.full(total.shape, np.nan)
    np.divide(total, trials * width, out=rate, where=trials > 0)
    return rate


def presented(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many trials each unit has of each stimulus: (stimulus, unit) from (stimulus, unit, time, repeat)."""
    there = ~np.isnan(values[:, :, 0]) if values.dtype.kind == "f" else np.ones(values[:, :, 0].shape, bool)
    return np.asarray(there.sum(axis=2, dtype=np.int64))
