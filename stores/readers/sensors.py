"""Channels of an MNE recording by type: what each type's cube is, and what is known of each channel."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers.cubes import Labels, texts, unique
from stores.readers.fif import told
from stores.specs import EEG, MEG, Spec

KINDS: Final[Mapping[str, tuple[Spec, str, str]]] = {
    "mag": (MEG, "T", "magnetic field"),
    "grad": (MEG, "T/m", "magnetic field gradient"),
    "eeg": (EEG, "V", "scalp potential"),
}
"""Types of channels that become cubes: spec, units, quantity. They are never mixed, for their units differ."""
_FRAMES: Final = {1: "device", 4: "head"}


@dataclass(frozen=True)
class Sensors:
    """The channels of one type: their places among all channels, names, coordinates and attributes."""

    kind: str
    spec: Spec
    picks: tuple[int, ...]
    names: tuple[str, ...]
    coords: Labels
    attrs: Mapping[str, Any]


def sensors(
    path: Path, info: Any, types: Mapping[str, str] | None = None, bad: Collection[str] = ()
) -> tuple[list[Sensors], dict[str, int]]:
    """The types that become cubes, and how many channels of which others do not.

    types : channel -> type, where a table knows better than the file.    bad : channels, beside info["bads"].
    Units carry channel, channel_type, bad, and x, y, z in metres where known; attributes tell who was recorded
    and what was done since. Raises InputError.
    """
    with told(path, "a recording of MNE"):
        names = list(unique(path, "its list of channels", list(info["ch_names"])))
        own = info.get_channel_types()
        kinds = [(types or {}).get(name, kind) for name, kind in zip(names, own, strict=True)]
        spoilt, common = {*bad, *info["bads"]}, {"subject": subject_of(path, info), **history(info)}
        found = []
        for kind in KINDS:
            picks = tuple(n for n, one in enumerate(kinds) if one == kind)
            if picks:
                found.append(_of(kind, picks, [names[n] for n in picks], info, spoilt, common))
    left = Counter(f"{kind} channels" for kind in kinds if kind not in KINDS)
    if not found:
        raise InputError(f"{path} has no {', '.join(KINDS)} channels; it has {dict(left)}")
    return found, dict(left)


def subject_of(path: Path, info: Any) -> str:
    """`sub-01` of a BIDS name, or else who the file says it is, or else the name of its folder."""
    if match := re.search(r"sub-[A-Za-z0-9]+", path.name):
        return match[0]
    person = info["subject_info"] or {}
    return str(person.get("his_id") or person.get("id") or path.resolve().parent.name)


def history(info: Any) -> dict[str, Any]:
    """What was done to a recording, as attributes: rates, filters, projectors and whether they are applied."""
    return {
        "sampling_rate": float(info["sfreq"]),
        "highpass": float(info["highpass"]),
        "lowpass": float(info["lowpass"]),
        "projectors": [
            f"{one['desc']} ({'applied' if one['active'] else 'not applied'})" for one in info["projs"]
        ],
        "maxfiltered": any("max_info" in one for one in info["proc_history"]),
    }


def _of(
    kind: str,
    picks: tuple[int, ...],
    names: list[str],
    info: Any,
    bad: Collection[str],
    common: Mapping[str, Any],
) -> Sensors:
    spec, units, quantity = KINDS[kind]
    channels = [info["chs"][n] for n in picks]
    places = np.array([one["loc"][:3] for one in channels], np.float64)
    frames = {_FRAMES.get(int(one["coord_frame"]), "unknown") for one in channels}
    known = len(frames) == 1 and np.isfinite(places).any() and np.nan_to_num(places).any()
    coords: dict[str, tuple[str, Any]] = {
        "channel": (UNIT, texts(names)),
        "channel_type": (UNIT, texts([kind] * len(names))),
        "bad": (UNIT, np.array([one in bad for one in names])),
    }
    attrs: dict[str, Any] = {"quantity": quantity, "units": units, **common}
    if known:
        coords |= {axis: (UNIT, places[:, n]) for n, axis in enumerate("xyz")}
        attrs["positions"] = f"m, {min(frames)} coordinates"
    return Sensors(kind, spec, picks, tuple(names), coords, attrs)
