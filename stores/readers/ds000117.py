"""Faces in MEG, ds000117: famous, unfamiliar and scrambled ones, 16 people, six runs. Wakeman and Henson (2015).

`catalogue` lists the recordings, as measured (`raw`) and after MaxFilter (`sss`), with what cleaning them needs.
The reader cuts trials out of them, without any filter or baseline, and joins those of a picture as its repeats.

* Onsets count from a file's start; `raw.first_samp` is on top where MNE counts. The projector's delay is in no
  table; it is added here, so that time 0 is when a picture was seen.
* `meg/f013.bmp` and `func/f013.bmp` are different pictures: ids keep the folder, `meg/f013`.
* Two versions of the tables are about: `stim_type, trigger, onset_sample`, and `trial_type, value, sample` with
  rows of button presses, which are dropped and counted.
* EEG061 to EEG064 are no electrodes, whatever the recording says. Types of channels are separate cubes.
* MaxFiltered runs are aligned with the head in run 4, others are not: kinds are never mixed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import mne
import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts
from stores.readers.ds000117_catalogue import DATASET, DELAY, EXAMPLE, Kind, Recording, catalogue
from stores.readers.events import event_coords
from stores.readers.fif import told, whole
from stores.readers.lazy import from_blocks
from stores.readers.presentations import spread
from stores.readers.reader import Reader
from stores.readers.sensors import sensors
from stores.readers.slabs import single
from stores.readers.trials import Indices, Piece, Presented, TrialReader, blocks, presented

STIM_CHANNEL: Final = "STI101"
SLACK: Final = 0.01
"""Seconds about an event in which its trigger must be found."""


def read(
    path: Path,
    *,
    kind: Literal["both", "raw", "sss"] = "both",
    tmin: float = -0.2,
    tmax: float = 0.8,
    delay: float = DELAY,
) -> Mapping[str, xr.DataArray]:
    """`sub-01/raw/mag`, `sub-01/sss/grad`, ...: pictures by id, repeats in order of time over all runs.

    tmin, tmax : seconds from when the picture is seen, both included.    delay : from the trigger to that.
    Trials that do not fit into their run are dropped and counted. The trigger of each trial must be in the
    recording's channel STI101, within 10 ms, when it is read. Raises InputError.
    """
    if not tmin < tmax:
        raise InputError(f"{path}: tmin is {tmin} and tmax {tmax}; wanted the first to be smaller")
    found: dict[str, xr.DataArray] = {}
    groups: dict[tuple[str, Kind], list[Recording]] = {}
    for one in catalogue(path):
        groups.setdefault((one.subject, one.kind), []).append(one)
    for (subject, own), runs in groups.items():
        if kind in ("both", own):
            cubes = _subject(runs, (tmin, tmax, delay))
            found |= {f"{subject}/{own}/{name}": cube for name, cube in cubes.items()}
    if not found:
        raise InputError(f"{path} holds no recordings of the kind {kind!r}; it has {sorted(groups)[:4]}")
    return found


@dataclass(frozen=True)
class Windows:
    """Trials cut out of recordings: of each its run, first sample, sample of the trigger, and trigger."""

    runs: tuple[Path, ...]
    run: Indices
    start: Indices
    onset: Indices
    trigger: Indices
    picks: tuple[int, ...]

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:
        """Yield pieces of one trial, one run after another; see `stores.readers.trials.Pieces`."""
        for n, trial in enumerate(trials.tolist()):
            path = self.runs[self.run[trial]]
            raw = opened(path)
            first, last = self.start[trial] + times.start, self.start[trial] + times.stop
            slack = round(SLACK * raw.info["sfreq"])
            low = max(0, min(first, self.onset[trial] - slack))
            high = min(raw.n_times, max(last, self.onset[trial] + slack + 1))
            stim = [raw.ch_names.index(STIM_CHANNEL)] if STIM_CHANNEL in raw.ch_names else []
            with told(path, "a recording of MNE"):
                values = raw[[*self.picks[units], *stim], low:high][0]
            if stim:
                near = values[
                    -1, max(0, self.onset[trial] - slack - low) : self.onset[trial] + slack + 1 - low
                ]
                self._check(path, trial, near)
                values = values[:-1]
            values = single(path, "its values", values[:, first - low : last - low])
            yield slice(n, n + 1), slice(None), slice(None), values[None]

    def _check(self, path: Path, trial: int, near: Any) -> None:
        # Buttons set higher bits of the same channel.
        codes = np.nan_to_num(near).astype(np.int64) & 0xFF
        if self.trigger[trial] not in codes:
            raise InputError(
                f"{path}: the table of events has trigger {self.trigger[trial]} at sample {self.onset[trial]}; "
                f"{STIM_CHANNEL} has {sorted(set(codes.tolist()))} there. Is it the table of this run?"
            )


def opened(path: Path) -> Any:
    """One recording, its samples not read. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} is gone")
    return _raw(path, path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _raw(path: Path, size: int, changed: int) -> Any:  # noqa: ARG001 - another file, another entry
    whole(path)
    with told(path, "a recording of MNE"):
        raw = mne.io.read_raw_fif(path, preload=False, allow_maxshield="yes", verbose="error")
        raw[:, raw.n_times - 1 :]
    return raw


def _subject(runs: list[Recording], window: tuple[float, float, float]) -> dict[str, xr.DataArray]:
    """One kind of recordings of one person, by type of channel."""
    raws = [opened(one.path) for one in runs]
    rate = float(raws[0].info["sfreq"])
    tmin, tmax, delay = window
    begin, steps = round((tmin + delay) * rate), round((tmax - tmin) * rate) + 1
    table = _trials(runs, raws)
    start = table["sample"].to_numpy(np.int64) + begin
    ends = np.array([one.n_times for one in raws])[table["place"]]
    rows = np.flatnonzero((start >= 0) & (start + steps <= ends)).tolist()
    if not rows:
        raise InputError(f"{runs[0].path}: no trial from {tmin} to {tmax} s fits into its run")
    shown = presented(table["stimulus"].iloc[rows], rows)
    bad = {name for one, raw in zip(runs, raws, strict=True) for name in (*one.bads, *raw.info["bads"])}
    kinds, left = sensors(runs[0].path, raws[0].info, _types(runs[0], raws[0]), bad)
    dropped = {
        "events that are no pictures": sum(run.dropped for run in runs),
        "trials that do not fit into their run": len(table) - len(rows),
        **left,
    }
    attrs = {
        "dataset": DATASET,
        "recording": runs[0].kind,
        "delay": delay,
        "maxfilter": dict(runs[0].parameters),
    }
    found: dict[str, xr.DataArray] = {}
    for one in kinds:
        shape = (len(shown.stimuli), len(one.names), steps, shown.trials.shape[1])
        place, onset, trigger = (table[name].to_numpy(np.int64) for name in ("place", "sample", "trigger"))
        windows = Windows(tuple(run.path for run in runs), place, start, onset, trigger, one.picks)
        found[one.kind] = cube_of(
            from_blocks(
                TrialReader(windows, shown.trials),
                blocks(shape, np.float32, whole=[UNIT, TIME], slow=STIMULUS),
                np.float32,
            ),
            one.spec,
            stimuli=shown.stimuli,
            units=one.names,
            time=tmin + np.arange(steps) / rate,
            coords={**_labels(shown, table), **one.coords},
            sources=sorted({one for run in runs for one in (run.path, run.table, run.channels) if one}),
            attrs={**one.attrs, **attrs},
            dropped=dropped,
        )
    return found


def _trials(runs: list[Recording], raws: list[Any]) -> pd.DataFrame:
    """The events of all runs, one run after another, checked against the recordings. Raises InputError."""
    first, rate, tables = raws[0], float(raws[0].info["sfreq"]), []
    for n, (one, raw) in enumerate(zip(runs, raws, strict=True)):
        if raw.ch_names != first.ch_names or float(raw.info["sfreq"]) != rate:
            raise InputError(f"{one.path} has other channels, or another rate, than {runs[0].path.name}")
        onsets, samples = one.events["onset"].to_numpy(), one.events["sample"].to_numpy(np.int64)
        if odd := np.flatnonzero(np.abs(onsets * rate - samples) > 1).tolist():
            raise InputError(
                f"{one.table}: onset {onsets[odd[0]]} s is not sample {samples[odd[0]]} at {rate:g} Hz, the rate "
                f"of {one.path.name}"
            )
        if samples.max() >= raw.n_times:
            raise InputError(
                f"{one.table}: an event is at sample {samples.max()}; {one.path.name} has {raw.n_times} samples"
            )
        tables.append(one.events.assign(place=n, run=int(one.run)))
    return pd.concat(tables, ignore_index=True)


def _labels(shown: Presented, table: pd.DataFrame) -> dict[str, Any]:
    at = shown.trials[:, 0]
    return {
        "category": (STIMULUS, texts(table["category"].iloc[at])),
        "file": (STIMULUS, texts(table["file"].iloc[at])),
        **event_coords(shown, table[["run", "trigger", "onset", "sample"]]),
        # Spelled out, for where no stimulus was shown twice it would be told of stimuli.
        "trial_presentation": spread(shown, table["presentation"].to_numpy(object)),
    }


def _types(one: Recording, raw: Any) -> dict[str, str]:
    """Types of channels by the table, where they are not those of the recording. Raises InputError."""
    with told(one.path, "a recording of MNE"):
        own = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    told_types = {name: kind for name, kind in one.types.items() if name in own}
    for name, kind in told_types.items():
        if kind != own[name] and {kind, own[name]} & {"mag", "grad"}:
            raise InputError(f"{one.channels}: {name} is {kind}; in {one.path.name} it is {own[name]}")
    return told_types


READER: Final = Reader(
    DATASET,
    "MEG of 16 people who saw famous, unfamiliar and scrambled faces, raw and MaxFiltered (BIDS). "
    "Wakeman and Henson (2015).",
    (EXAMPLE, EXAMPLE.replace("_meg.fif", "_events.tsv")),
    read,
)
