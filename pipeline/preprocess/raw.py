"""Cleaning a continuous recording: bad channels, Maxwell filter, filters, heart and eyes, reference."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import mne
import numpy as np
from mne.io import BaseRaw

from pipeline.kernels import channels
from pipeline.preprocess.ica import fit_ica, remove_artefacts
from pipeline.preprocess.mne_errors import name_of, quiet
from pipeline.preprocess.settings import BadChannels, CleanSettings, Filter, Kind, Maxwell
from stores.errors import InputError

KINDS: Final[tuple[Kind, ...]] = ("mag", "grad", "eeg")
Record = dict[str, Any]


class Cleaned(NamedTuple):
    """A new recording, and what was done to it in plain JSON: channels, components, numbers."""

    raw: BaseRaw
    record: Record


def clean(
    raw: BaseRaw,
    settings: CleanSettings,
    *,
    bads: Sequence[str] = (),
    head_pos: str = "",
    ica: mne.preprocessing.ICA | None = None,
) -> Cleaned:
    """A cleaned copy of `raw`, in memory, and the record of what was done. `raw` stays as it is.

    In this order: channel types, bad channels found, Maxwell filter, notch and pass filters, removal of
    components that follow heart and eyes, bad channels interpolated, reference.

    bads : bad channels of this run, beside those of the settings.
    head_pos : file of head positions (`.pos`), compensated by the Maxwell filter.
    ica : a decomposition made before, such as one of all runs (`fit_ica`); else one is made of this run.
    Raises InputError naming the recording and the step.
    """
    cleaned = unmixed(raw, settings, bads=bads, head_pos=head_pos)
    if settings.ica:
        if ica is None:
            ica = fit_ica([cleaned.raw], settings.ica)
        removed = remove_artefacts(cleaned.raw, ica, settings.ica)
        cleaned = Cleaned(removed.raw, cleaned.record | {"ica": removed.record})
        # A channel that was bad in another run of a pooled decomposition still has its artefacts here.
        left_out = [one for kind in KINDS for one in of_kind(removed.raw, kind) if one not in ica.ch_names]
        removed.raw.info["bads"] += left_out
        cleaned.record["bads"] = cleaned.record["bads"] | {"not in the decomposition": left_out}
    result, record = cleaned
    if result.info["bads"] and settings.bads.then == "interpolate":
        record |= {"interpolated": list(result.info["bads"])}
        _interpolate(result)
    if settings.reference:
        with quiet("reference", raw):
            result.set_eeg_reference(settings.reference, projection=False)
        record |= {"reference": settings.reference}
    return Cleaned(result, record)


def unmixed(
    raw: BaseRaw, settings: CleanSettings, *, bads: Sequence[str] = (), head_pos: str = ""
) -> Cleaned:
    """What `clean` makes before components are looked for: also what a pooled decomposition is made of."""
    result = typed(raw, settings)
    with quiet("reading", raw):
        result.load_data()
    named = [*settings.bads.named, *bads]
    _known(raw, "bads", named)
    named = sorted({*result.info["bads"], *named})
    result.info["bads"] = named
    found = find_bads(result, settings.bads, settings.maxwell or Maxwell())
    result.info["bads"] = [*named, *found]
    record: Record = {"recording": name_of(raw), "bads": {"named": named, "found": found}}
    if settings.maxwell:
        result = maxwell(result, settings.maxwell, head_pos)
        with quiet("rank", raw):
            rank = int(sum(mne.compute_rank(result, rank="info").values()))
        record["maxwell"] = {"reconstructed": [*named, *found], "rank": rank}
    if settings.filter:
        filtered(result, settings.filter)
        record["filter"] = {"l_freq": result.info["highpass"], "h_freq": result.info["lowpass"]}
    return Cleaned(result, record)


def typed(raw: BaseRaw, settings: CleanSettings) -> BaseRaw:
    """A copy, not read, whose channels are what the settings say they are."""
    _known(raw, "channel_types", settings.channel_types)
    with quiet("channel_types", raw):
        return raw.copy().set_channel_types(dict(settings.channel_types), on_unit_change="ignore")


def find_bads(raw: BaseRaw, settings: BadChannels, space: Maxwell = Maxwell()) -> list[str]:  # noqa: B008 - frozen
    """Bad channels that are not marked yet, by `settings.find`; "maxwell" takes its model from `space`."""
    if settings.find == "none":
        return []
    if settings.find == "maxwell":
        with quiet("bad channels by Maxwell filter", raw):
            copy = raw.copy()
            mne.channels.fix_mag_coil_types(copy.info)
            noisy, flat = mne.preprocessing.find_bad_channels_maxwell(
                copy,
                limit=settings.limit,
                origin=space.origin,
                calibration=space.calibration or None,
                cross_talk=space.cross_talk or None,
            )
        return sorted({*map(str, noisy), *map(str, flat)})
    found = []
    for kind in KINDS:
        names = of_kind(raw, kind)
        if len(names) >= 3:
            spreads = channels.spread(raw.get_data(names), round(2 * raw.info["sfreq"]))
            away = channels.deviation(spreads)
            found += [one for one, z in zip(names, away, strict=True) if abs(z) > settings.limit]
    return found


def of_kind(raw: Any, kind: Kind, *, bads: bool = False) -> list[str]:
    """Names of the channels of a kind, in their order; with the bad ones where asked."""
    picks = mne.pick_types(
        raw.info, meg=kind if kind != "eeg" else False, eeg=kind == "eeg", exclude=() if bads else "bads"
    )
    return [raw.ch_names[n] for n in picks]


def maxwell(raw: BaseRaw, settings: Maxwell, head_pos: str = "") -> BaseRaw:
    """Signal space separation; bad channels are made anew from the others. Raises InputError."""
    with quiet("Maxwell filter", raw):
        copy = raw.copy()
        mne.channels.fix_mag_coil_types(copy.info)
        return mne.preprocessing.maxwell_filter(
            copy,
            origin=settings.origin,
            calibration=settings.calibration or None,
            cross_talk=settings.cross_talk or None,
            st_duration=settings.st_duration,
            destination=settings.destination or None,
            head_pos=mne.chpi.read_head_pos(head_pos) if head_pos else None,
        )


def filtered(raw: BaseRaw, settings: Filter) -> None:
    """Filter the channels of brain, eyes and heart of `raw` in place. Raises InputError where it cannot be."""
    nyquist = raw.info["sfreq"] / 2
    edges = [one for one in (settings.l_freq, settings.h_freq, *settings.notch) if one is not None]
    if wrong := [one for one in edges if not 0 < one < nyquist]:
        raise InputError(
            f"{name_of(raw)}: filter: {wrong[0]:g} Hz; the recording has {raw.info['sfreq']:g} samples a second, "
            f"so wanted edges between 0 and {nyquist:g} Hz"
        )
    picks = mne.pick_types(raw.info, meg=True, eeg=True, eog=True, ecg=True, exclude=())
    eyes = mne.pick_types(raw.info, meg=False, eog=True, exclude=())
    with quiet("filter", raw):
        if settings.method == "fir":
            _fits(raw, settings)
        if settings.notch:
            raw.notch_filter(settings.notch, picks=picks)
        if settings.l_freq is not None or settings.h_freq is not None:
            raw.filter(settings.l_freq, settings.h_freq, picks=picks, method=settings.method)
        if settings.eog_l_freq and len(eyes):
            raw.filter(settings.eog_l_freq, None, picks=eyes)


def _fits(raw: BaseRaw, settings: Filter) -> None:
    """Raise InputError where a filter is longer than the recording, which it would then distort everywhere."""
    sfreq = raw.info["sfreq"]
    for low, high in ((settings.l_freq, settings.h_freq), (settings.eog_l_freq, None)):
        if low is not None or high is not None:
            taps = len(mne.filter.create_filter(None, sfreq, low, high))
            if taps > raw.n_times:
                raise InputError(
                    f"{name_of(raw)}: filter: with edges at {low} and {high} Hz it is {taps / sfreq:.1f} s long "
                    f"and the recording {raw.n_times / sfreq:.1f} s. Take a higher l_freq, or method='iir'"
                )


def _interpolate(raw: BaseRaw) -> None:
    names = raw.info["bads"]
    places = np.array([raw.info["chs"][raw.ch_names.index(one)]["loc"][:3] for one in names])
    if not (np.isfinite(places).all() and places.any(axis=1).all()):
        raise InputError(
            f"{name_of(raw)}: bad channels {', '.join(names)} cannot be interpolated, for channels have no "
            'positions. Set a montage, or leave bad channels out: BadChannels(then="missing")'
        )
    with quiet("interpolation of bad channels", raw):
        raw.interpolate_bads(reset_bads=True)


def _known(raw: BaseRaw, field: str, names: Sequence[str] | Mapping[str, Any]) -> None:
    for name in names:
        if name not in raw.ch_names:
            near = get_close_matches(name, raw.ch_names, n=1, cutoff=0.5)
            raise InputError(
                f"{name_of(raw)}: {field}: there is no channel {name!r} among its {len(raw.ch_names)}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
