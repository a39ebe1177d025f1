"""Which stimulus was shown when: from triggers, or from a table of events."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import mne
import numpy as np
import pandas as pd
from mne.io import BaseRaw
from numpy.typing import NDArray

from pipeline.preprocess.mne_errors import name_of, quiet
from stores.errors import InputError


@dataclass(frozen=True)
class Triggers:
    """Events on a trigger channel.

    codes : trigger value -> stimulus id; other values are left out and counted.
    channel : "" for the recording's own.  mask, mask_type, min_duration, shortest : as in `mne.find_events`.
    """

    codes: Mapping[int, str]
    channel: str = ""
    mask: int | None = None
    mask_type: str = "and"
    min_duration: float = 0.0
    shortest: int = 1


@dataclass(frozen=True)
class Onsets:
    """Events listed beside the recording: seconds from the start of its file, and what was shown."""

    seconds: tuple[float, ...]
    stimuli: tuple[str, ...]


@dataclass(frozen=True)
class Trials:
    """Presentations in order of time.

    samples : as MNE counts them, from the start of the measurement (`raw.first_samp` included).
    left_out : events that are no trials, by reason.
    """

    samples: NDArray[np.int64]
    stimuli: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stimuli)


Events = Triggers | Onsets


def onsets(table: pd.DataFrame, *, onset: str = "onset", stimulus: str = "stim_file") -> Onsets:
    """Trials from a table such as a BIDS `events.tsv`. Raises InputError for a missing column or value."""
    for name in (onset, stimulus):
        if name not in table:
            raise InputError(
                f"the table of events has no column {name!r}; it has {', '.join(map(str, table))}"
            )
        if count := int(table[name].isna().sum()):
            raise InputError(
                f"the table of events: {count} values of {name!r} are missing; drop these rows first"
            )
    return Onsets(tuple(map(float, table[onset])), tuple(map(str, table[stimulus])))


def find_trials(raw: BaseRaw, events: Events) -> Trials:
    """The trials of a recording. Raises InputError where there are none, or two at the same moment."""
    found = _triggered(raw, events) if isinstance(events, Triggers) else _listed(raw, events)
    if not len(found):
        left = ", ".join(f"{count} with {what}" for what, count in found.left_out.items())
        raise InputError(
            f"{name_of(raw)}: no trials; " + (f"it has events: {left}" if left else "no events at all")
        )
    if (np.diff(found.samples) == 0).any():
        where = int(found.samples[:-1][np.diff(found.samples) == 0][0])
        raise InputError(f"{name_of(raw)}: two trials start at sample {where}; wanted one stimulus at a time")
    return found


def _triggered(raw: BaseRaw, triggers: Triggers) -> Trials:
    with quiet("triggers", raw):
        events = mne.find_events(
            raw,
            stim_channel=triggers.channel or None,
            mask=triggers.mask,
            mask_type=triggers.mask_type,
            min_duration=triggers.min_duration,
            shortest_event=triggers.shortest,
        )
    codes = [int(one) for one in events[:, 2]]
    known = np.array([one in triggers.codes for one in codes], bool)
    others = Counter(one for one in codes if one not in triggers.codes)
    return Trials(
        events[known, 0].astype(np.int64),
        tuple(triggers.codes[one] for one in codes if one in triggers.codes),
        {f"trigger {code}": count for code, count in sorted(others.items())},
    )


def _listed(raw: BaseRaw, listed: Onsets) -> Trials:
    if len(listed.seconds) != len(listed.stimuli):
        raise InputError(
            f"{name_of(raw)}: {len(listed.seconds)} onsets are listed for {len(listed.stimuli)} stimuli"
        )
    samples = np.round(np.array(listed.seconds, float) * raw.info["sfreq"]).astype(np.int64) + raw.first_samp
    order = np.argsort(samples, kind="stable")
    return Trials(samples[order], tuple(listed.stimuli[n] for n in order))
