"""How strong an oscillation is at each moment."""

from typing import Any

import mne
import numpy as np
import numpy.typing as npt
from scipy.signal import hilbert

TRANSITION: float = 1.0
"""Hz over which the filter goes from passing to stopping, on both sides of a band."""


def filter_samples(sfreq: float) -> int:
    """Length of the band filter in samples; signals should be longer."""
    return len(_taps(sfreq, (2 * TRANSITION, 4 * TRANSITION)))


def envelope(
    signals: npt.NDArray[Any], sfreq: float, band: tuple[float, float], axis: int = -1
) -> npt.NDArray[Any]:
    """|h(t)| of the analytic signal h = x_b + i H(x_b), where x_b is the band-passed signal.

    Linear-phase FIR filter (firwin, Hamming, transitions of 1 Hz), its delay taken out, so that the envelope of
    ``a(t) cos(2 pi f t)`` is a(t) for a slow a and f within the band. A signal with a NaN is NaN. In the
    precision of the signals.

    signals : any shape, *signed*; `axis` is time.  band : (low, high) in Hz.
    Raises ValueError where the band does not fit under half of `sfreq`, or where no value is negative although
    some are positive: that is a magnitude, which oscillates at twice the frequency.
    """
    low, high = band
    if not TRANSITION < low < high < sfreq / 2 - TRANSITION:
        raise ValueError(
            f"a band of {low:g}-{high:g} Hz does not fit a signal of {sfreq:g} Hz; wanted {TRANSITION:g} < low < "
            f"high < {sfreq / 2 - TRANSITION:g}"
        )
    x = np.moveaxis(np.asarray(signals, np.float64), axis, -1)
    if x.size and not (x < 0).any() and (x > 0).any():
        raise ValueError(
            "no value is negative: these are magnitudes (an envelope, or source estimates whose orientations "
            "were pooled), in which an oscillation has twice its frequency. Give the signed signals"
        )
    whole = np.isfinite(x).all(axis=-1)
    found = np.full(x.shape, np.nan, signals.dtype if signals.dtype.kind == "f" else np.float64)
    if whole.any():
        found[whole] = np.abs(hilbert(_passed(x[whole], sfreq, band), axis=-1))
    return np.moveaxis(found, -1, axis)


def _passed(x: npt.NDArray[np.float64], sfreq: float, band: tuple[float, float]) -> npt.NDArray[np.float64]:
    passed: npt.NDArray[np.float64] = mne.filter.filter_data(
        x, sfreq, *band, l_trans_bandwidth=TRANSITION, h_trans_bandwidth=TRANSITION, verbose="error"
    )
    return passed


def _taps(sfreq: float, band: tuple[float, float]) -> npt.NDArray[np.float64]:
    taps: npt.NDArray[np.float64] = mne.filter.create_filter(
        None, sfreq, *band, l_trans_bandwidth=TRANSITION, h_trans_bandwidth=TRANSITION, verbose="error"
    )
    return taps
