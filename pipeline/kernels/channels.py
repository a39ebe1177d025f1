"""Channels that stand out from the others of their kind."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
FLAT: Final = 1e-4
"""Fraction of the median spread below which a channel counts as flat."""
MAD: Final = 1.4826
"""From a median absolute deviation to the standard deviation of a normal distribution."""


def spread(signals: npt.NDArray[Any], samples: int) -> Doubles:
    """Median over pieces of so many samples of the peak-to-peak within one: (channel, time) -> (channel,).

    Slow drifts and rare artefacts hardly change it, lasting noise does.
    """
    pieces = max(1, signals.shape[1] // max(1, samples))
    ranges = [np.ptp(piece, axis=1) for piece in np.array_split(signals, pieces, axis=1)]
    return np.median(np.asarray(ranges, np.float64), axis=0)


def deviation(spreads: Doubles) -> Doubles:
    """How far the logarithm of each channel's spread is from the median channel, in robust standard deviations.

    z_c = (log s_c - median log s) / (1.4826 median |log s - median log s|), over channels that are not flat;
    -inf for a flat one, whose spread is below 1e-4 of the median. NaN where fewer than three channels are left
    or their spreads do not differ.
    """
    found = np.full(spreads.shape, np.nan)
    flat = spreads <= FLAT * np.median(spreads)
    if (~flat).sum() >= 3:
        logs = np.log(spreads[~flat])
        away = logs - np.median(logs)
        scale = MAD * np.median(np.abs(away))
        found[~flat] = away / scale if scale > 0 else np.nan
    found[flat] = -np.inf
    return found
