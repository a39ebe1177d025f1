"""Trials cut out of a cleaned recording: delay, rejection with its reasons, baseline, fewer samples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import mne
import numpy as np
from mne.io import BaseRaw
from numpy.typing import NDArray

from pipeline.kernels import rejection
from pipeline.kernels.envelope import envelope
from pipeline.preprocess.mne_errors import name_of, quiet, silence
from pipeline.preprocess.raw import KINDS, of_kind
from pipeline.preprocess.settings import BANDS, EpochSettings, Kind
from pipeline.preprocess.trials import Trials
from stores.errors import InputError

KEPT: Final = "kept"
OUTSIDE: Final = "outside the recording"
FLAT: Final = "flat"
PEAK: Final = "peak-to-peak"


@dataclass(frozen=True)
class Epoched:
    """Trials of one run.

    epochs : the trials that were kept.  states : for every trial, "kept" or why it was not.
    times : seconds from the onset.  limits : kind -> peak-to-peak above which a trial was dropped.
    """

    epochs: mne.BaseEpochs
    trials: Trials
    states: tuple[str, ...]
    times: NDArray[np.float64]
    limits: Mapping[str, float]
    run: str
    session: str
    band: str

    def values(self, kind: Kind) -> NDArray[np.float32]:
        """(trial, channel, time) of all trials; NaN where a trial was dropped or a channel is bad."""
        names = of_kind(self.epochs, kind, bads=True)
        found = np.full((len(self.trials), len(names), len(self.times)), np.nan, np.float32)
        kept = np.array([one == KEPT for one in self.states], bool)
        if kept.any():
            with silence():
                found[kept] = self.epochs.get_data(names, copy=False)
        found[:, [one in self.epochs.info["bads"] for one in names]] = np.nan
        return found


def cut_epochs(
    raw: BaseRaw, trials: Trials, settings: EpochSettings, *, run: str = "1", session: str = ""
) -> Epoched:
    """Cut `trials` out of a (cleaned) recording.

    An onset is moved by `settings.delay`. A trial is dropped that leaves the recording, meets an annotation that
    begins with BAD, is flat, or has a larger peak-to-peak than its limit in any good channel, in this order.
    Times are exact multiples of the sampling interval, 0 being the sample of the onset.
    Raises InputError naming the recording and the setting.
    """
    _check(raw, settings)
    made_of = band_envelope(raw, settings.band) if settings.band else raw
    events = np.zeros((len(trials), 3), np.int64)
    events[:, 0] = trials.samples + round(settings.delay * raw.info["sfreq"])
    events[:, 2] = 1
    window = settings.reject_window or (None, None)
    with quiet("epochs", raw):
        made = mne.Epochs(
            made_of,
            events,
            tmin=settings.tmin,
            tmax=settings.tmax,
            baseline=settings.baseline,
            reject_tmin=window[0],
            reject_tmax=window[1],
            preload=True,
        )
        states = [_reason(one) for one in made.drop_log]
        if settings.flat:
            made.drop_bad(flat=dict(settings.flat), reject=None)
            states = _updated(states, made.drop_log, FLAT)
        limits = _limits(made, settings)
        if limits and len(made):
            made.drop_bad(reject=limits, flat="existing")
            states = _updated(states, made.drop_log, PEAK)
        times = times_of(raw.info, settings)
        return Epoched(
            thinned(made, settings), trials, tuple(states), times, limits, run, session, settings.band
        )


def band_envelope(raw: BaseRaw, band: str) -> BaseRaw:
    """A copy of a recording whose MEG and EEG channels hold the envelope of a band of `BANDS`."""
    if band not in BANDS:
        raise InputError(f"there is no band {band!r}; choose one of {', '.join(BANDS)}")
    picks = mne.pick_types(raw.info, meg=True, eeg=True, exclude=())
    with quiet(f"envelope of {band}", raw):
        copy = raw.copy().load_data()
        sfreq = float(raw.info["sfreq"])
        return copy.apply_function(envelope, picks=picks, sfreq=sfreq, band=BANDS[band], channel_wise=False)


def thinned(made: mne.BaseEpochs, settings: EpochSettings) -> mne.BaseEpochs:
    """Fewer samples a second, where the settings ask for it."""
    if settings.decim > 1:
        return made.decimate(settings.decim)
    if settings.resample and len(made):
        return made.resample(settings.resample)
    return made


def times_of(info: Any, settings: EpochSettings) -> NDArray[np.float64]:
    """The times that epochs of such a recording will have, in seconds."""
    sfreq = float(info["sfreq"])
    start, stop = round(settings.tmin * sfreq), round(settings.tmax * sfreq)
    blank = mne.create_info(["blank"], sfreq, "misc")
    with silence():
        made = mne.EpochsArray(np.zeros((1, 1, stop - start + 1)), blank, tmin=start / sfreq)
        times: NDArray[np.float64] = np.asarray(thinned(made, settings).times, np.float64)
    return times.round(9)


def _check(raw: BaseRaw, settings: EpochSettings) -> None:
    present = {kind for kind in KINDS if of_kind(raw, kind)}
    for name, limits in (("reject", settings.reject), ("flat", settings.flat)):
        if absent := sorted(set(limits) - present - {"eog", "ecg"}):
            raise InputError(
                f"{name_of(raw)}: {name}: there are no good channels of the kind {absent[0]!r}; it has "
                f"{', '.join(sorted(present)) or 'none of ' + ', '.join(KINDS)}"
            )
    if settings.decim > 1 and settings.resample:
        raise InputError("decim and resample are both set; choose one")
    rate = raw.info["sfreq"] / settings.decim
    low, high = BANDS.get(settings.band, (0.0, raw.info["lowpass"]))
    if settings.decim > 1 and high - low > rate / 3:  # an envelope is as fast as its band is wide
        raise InputError(
            f"{name_of(raw)}: decim={settings.decim} leaves {rate:g} samples a second, but there are frequencies "
            f"up to {high - low:g} Hz, which would be folded down. Low-pass the recording at "
            f"{math.floor(rate / 3)} Hz or below first, Filter(h_freq=), or keep more samples"
        )


def _limits(made: mne.BaseEpochs, settings: EpochSettings) -> dict[str, float]:
    found = {}
    for kind, limit in settings.reject.items():
        if limit == "auto":
            window = (
                slice(*made.time_as_index(settings.reject_window)) if settings.reject_window else slice(None)
            )
            names = of_kind(made, kind)  # type: ignore[arg-type]
            limit = rejection.threshold(made.get_data(names, copy=False)[..., window])
        found[kind] = float(limit)
    return found


def _reason(log: tuple[str, ...]) -> str:
    if not log:
        return KEPT
    return OUTSIDE if log[0] in ("TOO_SHORT", "NO_DATA") else f"annotated {log[0]}"


def _updated(states: list[str], log: tuple[tuple[str, ...], ...], reason: str) -> list[str]:
    """States after one more criterion: who was kept and is in the log now fell to it."""
    return [reason if one == KEPT and why else one for one, why in zip(states, log, strict=True)]
