"""The work on one recording, and what must be known of all recordings of a person before it begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import mne
from mne.io import BaseRaw
from mne.preprocessing import ICA

from pipeline import blocks
from pipeline.preprocess.cubes import Axes, left_out, same_axes, settings_of
from pipeline.preprocess.epochs import cut_epochs, times_of
from pipeline.preprocess.ica import fit_ica
from pipeline.preprocess.mne_errors import name_of, quiet, silence
from pipeline.preprocess.raw import Record, clean, typed, unmixed
from pipeline.preprocess.settings import CleanSettings, EpochSettings, Ica, Kind
from pipeline.preprocess.slots import Repeats, RunValues, Slots, slots
from pipeline.preprocess.trials import Events, Trials, find_trials
from stores.errors import InputError


@dataclass(frozen=True)
class Run:
    """One recording.

    recording : a file that MNE reads, or a function without arguments that gives a `mne.io.BaseRaw` (picklable,
    if it is to run on workers; better not preloaded, for it is also called for the header).
    bads, head_pos : what `clean` takes of one run alone.
    """

    recording: str | Path | Callable[[], BaseRaw]
    events: Events
    subject: str
    run: str
    session: str = ""
    bads: tuple[str, ...] = ()
    head_pos: str = ""

    @property
    def name(self) -> str:
        """For people and for records: `sub-01/ses-1/run-3`."""
        return "/".join([self.subject, *([f"ses-{self.session}"] if self.session else []), f"run-{self.run}"])

    def open(self) -> BaseRaw:
        """The recording. Raises InputError."""
        if callable(self.recording):
            found = self.recording()
            if not isinstance(found, BaseRaw):
                raise InputError(
                    f"{self.name}: its function gave {type(found).__name__}; wanted an mne.io.BaseRaw"
                )
            return found
        path = Path(self.recording).expanduser()
        if not path.exists():
            raise InputError(f"{self.name}: there is no recording {path}")
        with quiet("reading", path):
            return mne.io.read_raw(path, preload=False)


@dataclass(frozen=True)
class Headed:
    """A run and what its header and events say."""

    run: Run
    trials: Trials
    axes: Mapping[Kind, Axes]
    bytes: int
    stamp: tuple[int, ...]


class Done(NamedTuple):
    """What the task of a run gives."""

    run: RunValues
    record: Record


def headed(run: Run, clean: CleanSettings, epoch: EpochSettings, kinds: Sequence[Kind]) -> Headed:
    """Read the header and the events of a run; no data."""
    raw = typed(run.open(), clean)
    times = times_of(raw.info, epoch)
    axes = {kind: Axes.of(raw, times, kind, run.name) for kind in kinds}
    stamps = [Path(one).stat() for one in raw.filenames if one is not None]
    stamp = tuple(number for one in stamps for number in (one.st_size, one.st_mtime_ns))
    return Headed(run, find_trials(raw, run.events), axes, 8 * len(raw.ch_names) * raw.n_times, stamp)


@dataclass(frozen=True)
class Laid:
    """All runs of one person, and the cubes that they make: places of trials, axes by kind, attributes."""

    subject: str
    runs: tuple[Headed, ...]
    places: Slots
    axes: Mapping[Kind, Axes]
    attrs: Mapping[str, Any]


def laid_out(
    runs: Sequence[Run],
    clean: CleanSettings,
    epoch: EpochSettings,
    *,
    kinds: Sequence[Kind],
    dataset: str,
    repeats: Repeats,
) -> Iterator[Laid]:
    """What each subject's cubes will be, from headers and events alone. Raises InputError naming the run."""
    if not runs or not kinds:
        raise InputError("no runs or no kinds of channels were given; wanted one of each at least")
    for subject in dict.fromkeys(one.subject for one in runs):
        own = tuple(headed(one, clean, epoch, kinds) for one in runs if one.subject == subject)
        places = slots(
            [one.trials.stimuli for one in own], [(one.run.run, one.run.session) for one in own], repeats
        )
        attrs = {
            "subject": subject,
            "dataset": dataset,
            "dropped": left_out([one.trials.left_out for one in own]),
            "preprocessing": settings_of(clean, epoch),
        }
        axes = {kind: same_axes([one.axes[kind] for one in own]) for kind in kinds}
        yield Laid(subject, own, places, axes, attrs)


def cleaned_and_cut(
    ica: ICA | None = None,
    *,
    run: Run,
    planned: Trials,
    settings: CleanSettings,
    epoch: EpochSettings,
    kinds: tuple[Kind, ...],
) -> Done:
    """All the work on one run. `planned` are its trials when the cube was laid out. Raises InputError."""
    with silence():  # of a user's function, too: levels that threads set and restore by turns get lost
        raw = run.open()
        trials = find_trials(raw, run.events)
        if trials.stimuli != planned.stimuli:
            raise InputError(
                f"{run.name}: the events of {name_of(raw)} are others than when the cube was laid out"
            )
        cleaned = clean(raw, settings, bads=run.bads, head_pos=run.head_pos, ica=ica)
        found = cut_epochs(cleaned.raw, trials, epoch, run=run.run, session=run.session)
        values = RunValues({kind: found.values(kind) for kind in kinds}, found.states)
        return Done(values, cleaned.record | {"limits": dict(found.limits), "run": run.name})


def pooled_ica(runs: tuple[Run, ...], clean: CleanSettings, settings: Ica) -> ICA:
    """One decomposition of all runs of a person, each cleaned up to there."""
    with silence():
        return fit_ica(
            [unmixed(one.open(), clean, bads=one.bads, head_pos=one.head_pos).raw for one in runs], settings
        )


def work(runs: Sequence[Headed], clean: CleanSettings) -> blocks.Price:
    """What tasks hold before they cut trials: a run, its cleaned copy, and those that steps work on."""
    copies = 4 + (2 if clean.ica else 0) + (1 if clean.maxwell else 0)
    total, largest = sum(one.bytes for one in runs), max(one.bytes for one in runs)
    if clean.ica and clean.ica.pooled:  # all runs, thinned, and twice while they are joined
        return blocks.Price(copies * largest + 2 * total // clean.ica.decim, 2 * total)
    return blocks.Price(copies * largest, total)
