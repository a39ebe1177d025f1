"""Many recordings at once: one Dask task cleans and cuts one run, and cubes wait until they are computed."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from pipeline import blocks
from pipeline.preprocess.cubes import Axes, labelled
from pipeline.preprocess.raw import Record
from pipeline.preprocess.run_tasks import Done, Headed, Run, cleaned_and_cut, laid_out, pooled_ica, work
from pipeline.preprocess.settings import CleanSettings, EpochSettings, Kind
from pipeline.preprocess.slots import Repeats, Slots, placed, states
from stores.layout import SHARD_BYTES


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
    cubes: dict[str, xr.DataArray] = {}
    records: dict[str, Delayed] = {}
    for laid in laid_out(runs, clean, epoch, kinds=kinds, dataset=dataset, repeats=repeats):
        tasks = _tasks(laid.runs, clean, epoch, kinds)
        for kind, axes in laid.axes.items():
            values, state = _cube(tasks, laid.places, axes, work(laid.runs, clean))
            cubes[f"{laid.subject}/{kind}"] = labelled(
                values, state, laid.places, axes, laid.attrs, epoch.band
            )
        records |= {one.run.name: _record(task) for one, task in zip(laid.runs, tasks, strict=True)}
    return Preprocessed(cubes, records)


def ica_task(runs: Sequence[Headed], clean: CleanSettings) -> Delayed | None:
    """The task that fits the components of all runs of a person, where settings ask for it."""
    if not clean.ica or not clean.ica.pooled:
        return None
    fit = blocks.task(pooled_ica, runs=tuple(one.run for one in runs), clean=clean, settings=clean.ica)
    token = tokenize([(one.run, one.stamp) for one in runs], clean)
    return _delayed(f"preprocess-ica-{token}", 0, {0: (fit,)}, [])


def _tasks(
    runs: Sequence[Headed], clean: CleanSettings, epoch: EpochSettings, kinds: Sequence[Kind]
) -> list[Delayed]:
    """One Delayed of `Done` for each run; behind them one that fits ICA, where it is pooled."""
    token = tokenize([(one.run, one.stamp) for one in runs], clean, epoch, list(kinds))
    pooled = [one for one in (ica_task(runs, clean),) if one is not None]
    name = f"preprocess-run-{token}"
    graph = {
        n: (
            blocks.task(
                cleaned_and_cut,
                run=one.run,
                planned=one.trials,
                settings=clean,
                epoch=epoch,
                kinds=tuple(kinds),
            ),
            *(one.key for one in pooled),
        )
        for n, one in enumerate(runs)
    }
    return [_delayed(name, n, graph, pooled) for n in graph]


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


def _values(done: list[Done], **how: Any) -> Any:
    return placed([one.run for one in done], **how)


def _states(done: list[Done], **how: Any) -> Any:
    return states([one.run for one in done], **how)


def _record(task: Delayed) -> Delayed:
    name = f"preprocess-record-{tokenize(task.key)}"
    return _delayed(name, 0, {0: (_record_of, task.key)}, [task])


def _record_of(done: Done) -> Record:
    return done.record


def _delayed(name: str, n: int, tasks: Mapping[int, Any], sources: Sequence[Delayed]) -> Delayed:
    layer: Any = {(name, one): task for one, task in tasks.items()}
    graph = HighLevelGraph.from_collections(name, layer, dependencies=sources)  # type: ignore[arg-type]
    return Delayed((name, n), graph, layer=name)  # type: ignore[no-untyped-call]
