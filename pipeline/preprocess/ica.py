"""Independent components that follow the heart or the eyes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mne
import numpy as np
from mne.io import BaseRaw
from mne.preprocessing import ICA

from pipeline.preprocess.mne_errors import name_of, quiet
from pipeline.preprocess.settings import Ica
from stores.errors import InputError


class Removed(NamedTuple):
    """A recording without components, and which they were."""

    raw: BaseRaw
    record: dict[str, Any]


def fit_ica(raws: Sequence[BaseRaw], settings: Ica) -> ICA:
    """FastICA of one or several runs together, on the good MEG and EEG channels of all of them.

    Runs are high-passed and thinned one by one, so that no more than one whole run is held beside what is
    fitted. Raises InputError.

    Where it does not converge in 1000 steps, the record of what it cleans says so.
    """
    bads = sorted({one for raw in raws for one in raw.info["bads"]})
    with quiet("ICA", raws[0]):
        thin = [_thinned(raw, settings, bads) for raw in raws]
        pooled = mne.concatenate_raws(thin) if len(thin) > 1 else thin[0]
        ica = ICA(settings.n_components, method="fastica", random_state=settings.seed)
        return ica.fit(pooled, reject=dict(settings.reject) or None)


def remove_artefacts(raw: BaseRaw, ica: ICA, settings: Ica) -> Removed:
    """`raw`, changed in place, without the components that follow its heart or its eyes.

    Those are found by cross-trial phase statistics of the beats and by correlation with EOG channels; the
    clearest go first, at most so many of each as the settings allow. Raises InputError.
    """
    found = {"ecg": _ecg(raw, ica, settings), "eog": _eog(raw, ica, settings)}
    drop = sorted({*found["ecg"], *found["eog"]})
    with quiet("ICA", raw):
        cleaned = ica.apply(raw, exclude=drop)
    converged = bool(np.all(np.asarray(ica.n_iter_) < (1000 if ica.max_iter == "auto" else ica.max_iter)))
    record = {"components": int(ica.n_components_), "converged": converged, **found}
    return Removed(cleaned, record)


def _thinned(raw: BaseRaw, settings: Ica, bads: Sequence[str]) -> BaseRaw:
    copy = raw.copy().pick(mne.pick_types(raw.info, meg=True, eeg=True, exclude=()))
    copy.info["bads"] = list(bads)
    if settings.l_freq is not None:
        copy.filter(settings.l_freq, None)
    if settings.decim > 1:
        values = copy.get_data()[:, :: settings.decim]
        info = mne.create_info(copy.ch_names, copy.info["sfreq"] / settings.decim, copy.get_channel_types())
        info["bads"] = list(bads)
        return mne.io.RawArray(values, info)
    return copy


def _ecg(raw: BaseRaw, ica: ICA, settings: Ica) -> list[int]:
    if not settings.ecg_at_most:
        return []
    types = set(raw.get_channel_types())
    if not types & {"ecg", "mag"}:
        raise InputError(
            f"{name_of(raw)}: ICA: the heart cannot be followed without an ECG channel or magnetometers. Name "
            "one in channel_types, or look for none: Ica(ecg_at_most=0)"
        )
    with quiet("ICA, heart", raw):
        found, _ = ica.find_bads_ecg(raw, method="ctps", threshold=settings.ecg_threshold)
    return [int(one) for one in found[: settings.ecg_at_most]]


def _eog(raw: BaseRaw, ica: ICA, settings: Ica) -> list[int]:
    if not settings.eog_at_most:
        return []
    if not settings.eog_channels and "eog" not in raw.get_channel_types():
        raise InputError(
            f"{name_of(raw)}: ICA: there is no EOG channel. Name one in channel_types, name electrodes near the "
            "eyes in Ica(eog_channels=), or look for none: Ica(eog_at_most=0)"
        )
    with quiet("ICA, eyes", raw):
        channels = list(settings.eog_channels) or None
        measure = "correlation" if settings.eog_threshold < 1 else "zscore"
        found, _ = ica.find_bads_eog(raw, ch_name=channels, threshold=settings.eog_threshold, measure=measure)
    return [int(one) for one in found[: settings.eog_at_most]]
