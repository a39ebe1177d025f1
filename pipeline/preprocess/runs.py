"""Many recordings at once: one Dask task cleans and cuts one run, and cubes wait until they are computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import mne
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from mne.io import BaseRaw
from mne.preprocessing import ICA

from pipeline import blocks
from pipeline.preprocess.cubes import Axes, labelled, left_out, same_axes, settings_of
from pipeline.preprocess.epochs import cut_epochs, times_of
from pipeline.preprocess.ica import fit_ica
from pipeline.preprocess.mne_errors import name_of, quiet, silence
from pipeline.preprocess.raw import Record, clean, typed, unmixed
from pipeline.preprocess.settings import CleanSettings, EpochSettings, Ica, Kind
from pipeline.preprocess.slots import Repeats, RunValues, Slots, placed, slots, states
from pipeline.preprocess.trials import Events, Trials, find_trials
from stores.errors import InputError
from stores.layout import SHARD_BYTES


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


class Preprocessed(NamedTuple):
    """Lazy cubes by `<subject>/<kind>`, and what was done to each run, a Dask Delayed of plain JSON by its name.

    Computed together, `dask.compute(found.cubes, found.records)`, each run is worked on once.
    """

    cubes: Mapping[str, xr.DataArray]
    records: Mapping[str, Delayed]


def preprocess_runs(
    runs: Sequence[Run],
    clean: CleanSettings,
    epoch: EpochSettings,
    *,
    kinds: Sequence[Kind],
    dataset: str,
    repeats: Repeats = "by run",
) -> Preprocessed:
    """Clean and cut recordings: one lazy cube for each subject and kind of channel, one Dask task for each run.

    Headers and events are read now, for the shape; nothing else is. A cube is as `epochs_cube` makes it, except
    that trials dropped for their values are known, in `trial_state`, only once it is computed; `count_dropped`
    then puts their numbers into the attributes. With repeats "by run" a run is one Dask block.
    With `clean.ica.pooled` another task for each subject fits the components of all of its runs, and cleans
    them up to there for it a second time, rather than sending them. Raises InputError naming the run.
    """
    if not runs or not kinds:
        raise InputError("no runs or no kinds of channels were given; wanted one of each at least")
    cubes: dict[str, xr.DataArray] = {}
    records: dict[str, Delayed] = {}
    for subject in dict.fromkeys(one.subject for one in runs):
        own = [_headed(one, clean, epoch, kinds) for one in runs if one.subject == subject]
        tasks = _tasks(own, clean, epoch, kinds)
        places = slots(
            [one.trials.stimuli for one in own], [(one.run.run, one.run.session) for one in own], repeats
        )
        attrs = {
            "subject": subject,
            "dataset": dataset,
            "dropped": left_out([one.trials.left_out for one in own]),
            "preprocessing": settings_of(clean, epoch),
        }
        for kind in kinds:
            axes = same_axes([one.axes[kind] for one in own])
            values, state = _cube(tasks, places, axes, _work(own, clean))
            cubes[f"{subject}/{kind}"] = labelled(values, state, places, axes, attrs, epoch.band)
        records |= {one.run.name: _record(task) for one, task in zip(own, tasks, strict=True)}
    return Preprocessed(cubes, records)


@dataclass(frozen=True)
class _Headed:
    """A run and what its header and events say."""

    run: Run
    trials: Trials
    axes: Mapping[Kind, Axes]
    bytes: int
    stamp: tuple[int, ...]


class _Done(NamedTuple):
    """What the task of a run gives."""

    run: RunValues
    record: Record


def _headed(run: Run, clean: CleanSettings, epoch: EpochSettings, kinds: Sequence[Kind]) -> _Headed:
    raw = typed(run.open(), clean)
    times = times_of(raw.info, epoch)
    axes = {kind: Axes.of(raw, times, kind, run.name) for kind in kinds}
    stamps = [Path(one).stat() for one in raw.filenames if one is not None]
    stamp = tuple(number for one in stamps for number in (one.st_size, one.st_mtime_ns))
    return _Headed(run, find_trials(raw, run.events), axes, 8 * len(raw.ch_names) * raw.n_times, stamp)


def _tasks(
    runs: Sequence[_Headed], clean: CleanSettings, epoch: EpochSettings, kinds: Sequence[Kind]
) -> list[Delayed]:
    """One Delayed of `_Done` for each run; behind them one that fits ICA, where it is pooled."""
    token = tokenize([(one.run, one.stamp) for one in runs], clean, epoch, list(kinds))
    pooled: list[Delayed] = []
    if clean.ica and clean.ica.pooled:
        fit = blocks.task(_fit, runs=tuple(one.run for one in runs), clean=clean, settings=clean.ica)
        pooled = [_delayed(f"preprocess-ica-{token}", 0, {0: (fit,)}, [])]
    name = f"preprocess-run-{token}"
    graph = {
        n: (
            blocks.task(
                _run, run=one.run, planned=one.trials, settings=clean, epoch=epoch, kinds=tuple(kinds)
            ),
            *(one.key for one in pooled),
        )
        for n, one in enumerate(runs)
    }
    return [_delayed(name, n, graph, pooled) for n in graph]


def _run(
    ica: ICA | None = None,
    *,
    run: Run,
    planned: Trials,
    settings: CleanSettings,
    epoch: EpochSettings,
    kinds: tuple[Kind, ...],
) -> _Done:
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
        return _Done(values, cleaned.record | {"limits": dict(found.limits), "run": run.name})


def _fit(runs: tuple[Run, ...], clean: CleanSettings, settings: Ica) -> ICA:
    with silence():
        return fit_ica(
            [unmixed(one.open(), clean, bads=one.bads, head_pos=one.head_pos).raw for one in runs], settings
        )


def _work(runs: Sequence[_Headed], clean: CleanSettings) -> blocks.Price:
    """What tasks hold before they cut trials: a run, its cleaned copy, and those that steps work on."""
    copies = 4 + (2 if clean.ica else 0) + (1 if clean.maxwell else 0)
    total, largest = sum(one.bytes for one in runs), max(one.bytes for one in runs)
    if clean.ica and clean.ica.pooled:  # all runs, thinned, and twice while they are joined
        return blocks.Price(copies * largest + 2 * total // clean.ica.decim, 2 * total)
    return blocks.Price(copies * largest, total)


def _cube(
    tasks: Sequence[Delayed], places: Slots, axes: Axes, work: blocks.Price
) -> tuple[da.Array, da.Array]:
    """Values and states, lazy: blocks are runs, or some 48 MB of stimuli where repeats are pooled."""
    shape = (len(places.stimuli), len(axes.channels), len(axes.times), places.count)
    one = 4 * shape[1] * shape[2] * shape[3]
    step = shape[0] if places.per_run else max(1, SHARD_BYTES // one)
    rows = tuple(min(step, shape[0] - start) for start in range(0, shape[0], step))
    repeats = places.per_run or (shape[3],)
    name = f"epochs-{axes.kind}-{tokenize([one.key for one in tasks], axes.kind, places)}"
    state_name = name.replace(f"epochs-{axes.kind}", "trial-states")
    values: dict[blocks.Key, Any] = {}
    state: dict[blocks.Key, Any] = {}
    for n, (a, b) in enumerate(pairwise(accumulate(rows, initial=0))):
        for m, (c, d) in enumerate(pairwise(accumulate(repeats, initial=0))):
            parts = places.parts(slice(a, b), slice(c, d))
            keys = [tasks[part.run].key for part in parts]
            size = (b - a, *shape[1:3], d - c)
            values[name, n, 0, 0, m] = (partial(_values, parts=parts, kind=axes.kind, shape=size), keys)
            state[state_name, n, m] = (partial(_states, parts=parts, shape=(b - a, d - c)), keys)
    sources: Any = list(tasks)
    price = blocks.Price(peak=work.peak + 2 * one * max(rows), reads=work.reads)
    chunks = (rows, (shape[1],), (shape[2],), repeats)
    return (
        blocks.array(name, values, sources, chunks=chunks, price=price, dtype=np.float32),
        blocks.array(state_name, state, sources, chunks=(rows, repeats), price=blocks.Price(0), dtype=object),
    )


def _values(done: list[_Done], **how: Any) -> Any:
    return placed([one.run for one in done], **how)


def _states(done: list[_Done], **how: Any) -> Any:
    return states([one.run for one in done], **how)


def _record(task: Delayed) -> Delayed:
    name = f"preprocess-record-{tokenize(task.key)}"
    return _delayed(name, 0, {0: (_record_of, task.key)}, [task])


def _record_of(done: _Done) -> Record:
    return done.record


def _delayed(name: str, n: int, tasks: Mapping[int, Any], sources: Sequence[Delayed]) -> Delayed:
    layer: Any = {(name, one): task for one, task in tasks.items()}
    graph = HighLevelGraph.from_collections(name, layer, dependencies=sources)  # type: ignore[arg-type]
    return Delayed((name, n), graph, layer=name)  # type: ignore[no-untyped-call]
