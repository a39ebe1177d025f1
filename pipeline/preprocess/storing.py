"""Recordings straight into a store: one task cleans and cuts a run, and writes its shards of every cube."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from mne.preprocessing import ICA

from pipeline import blocks
from pipeline.fill import Block, Client, Progress, fill
from pipeline.preprocess.cubes import STATE, labelled, settings_of
from pipeline.preprocess.run_tasks import Done, Laid, Run, cleaned_and_cut, laid_out
from pipeline.preprocess.runs import ica_task
from pipeline.preprocess.settings import CleanSettings, EpochSettings, Kind
from pipeline.preprocess.slots import ABSENT, placed
from stores import Target, write_note, writing
from stores.provenance import file_record

VERSION: Final = 1
"""Raised whenever the same inputs would give other values: it is part of every content key."""


def store_runs(
    root: Any,
    into: str,
    runs: Sequence[Run],
    clean: CleanSettings,
    epoch: EpochSettings,
    *,
    kinds: Sequence[Kind],
    dataset: str,
    client: Client | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> dict[str, bool]:
    """Make the cubes `<into>/<subject>/<kind>`, as far as they are not there yet; returns which there were.

    The values are those of `preprocess_runs`, repeats by run. A run whose shards are written is not worked on
    again after a kill. What became of its trials, and what was done to the run, is in `stores.notes` of each
    cube. Raises InputError, KeyMismatchError, LockedError.
    """
    found: dict[str, bool] = {}
    for laid in laid_out(runs, clean, epoch, kinds=kinds, dataset=dataset, repeats="by run"):
        names: dict[str, Kind] = {f"{into}/{laid.subject}/{kind}": kind for kind in laid.axes}
        source = made_from(laid, clean, epoch, dataset)
        with ExitStack() as stack:
            targets = {
                name: stack.enter_context(
                    writing(
                        root,
                        name,
                        _template(laid, kind, epoch),
                        made_from=source | {"kind": kind},
                        overwrite=overwrite,
                    )
                )
                for name, kind in names.items()
            }
            found |= {name: target.complete for name, target in targets.items()}
            if all(target.complete for target in targets.values()):
                continue
            pooled = ica_task(laid.runs, clean)
            ica = None
            if pooled is not None:
                (ica,) = dask.compute(pooled, scheduler=client or "synchronous")  # type: ignore[attr-defined, no-untyped-call]
            fill(
                targets,
                run_blocks(laid, targets),
                RunSource(laid, names, targets, clean, epoch, ica),
                label=f"preprocess-{laid.subject}",
                client=client,
                progress=progress,
            )
    return found


@dataclass(frozen=True)
class RunSource:
    """From a block, which is one run of a person (or a few short ones), to what it gives to each cube."""

    laid: Laid
    kinds: Mapping[str, Kind]
    targets: Mapping[str, Target]
    clean: CleanSettings
    epoch: EpochSettings
    ica: ICA | None

    def __call__(self, block: Block) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield (cube name, values); notes are left before them."""
        repeats = next(iter(block.regions.values()))[3]
        done = {n: self._done(n) for n, span in enumerate(spans(self.laid)) if span.start in _range(repeats)}
        for name, region in block.regions.items():
            for n, one in done.items():
                write_note(self.targets[name], _note_name(self.laid.runs[n].run), self._note(n, one))
            parts = self.laid.places.parts(region[0], region[3])
            shape = tuple(part.stop - part.start for part in region)
            yield name, placed([done[part.run].run for part in parts], parts, self.kinds[name], shape)

    def _done(self, n: int) -> Done:
        one = self.laid.runs[n]
        work = blocks.task(
            cleaned_and_cut,
            run=one.run,
            planned=one.trials,
            settings=self.clean,
            epoch=self.epoch,
            kinds=tuple(self.laid.axes),
        )
        done: Done = work(*([] if self.ica is None else [self.ica]))
        return done

    def _note(self, n: int, done: Done) -> dict[str, Any]:
        trials = {
            "stimulus": list(self.laid.runs[n].trials.stimuli),
            "repeat": self.laid.places.repeats[n].tolist(),
            "state": list(done.run.states),
        }
        return {**done.record, "trials": trials}


def spans(laid: Laid) -> list[slice]:
    """The repeats of each run."""
    edges = itertools.accumulate(laid.places.per_run or (), initial=0)
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def run_blocks(laid: Laid, targets: Mapping[str, Target]) -> list[Block]:
    """One block per run; runs that share a shard of some cube, as those of small ones do, go together."""
    ends = [
        span.stop
        for span in spans(laid)
        if all(span.stop % one.shard[3] == 0 or span.stop == one.shape[3] for one in targets.values())
    ]
    return [
        Block({name: (*map(slice, (0, 0, 0), one.shape[:3]), slice(a, b)) for name, one in targets.items()})
        for a, b in itertools.pairwise([0, *ends])
    ]


def made_from(laid: Laid, clean: CleanSettings, epoch: EpochSettings, dataset: str) -> dict[str, Any]:
    """All that decides the values of a person's cubes: settings, and the bytes of recordings and events."""
    settings = settings_of(clean, epoch)
    if maxwell := settings["clean"]["maxwell"]:
        for name in ("calibration", "cross_talk", "destination"):
            maxwell[name] = _file(maxwell[name])
    return {
        "step": f"preprocess/{VERSION}",
        "dataset": dataset,
        "subject": laid.subject,
        "settings": settings,
        "runs": {one.run.name: _sources(one.run) for one in laid.runs},
    }


def _sources(run: Run) -> dict[str, Any]:
    raw = run.open()
    files = [Path(one) for one in raw.filenames if one is not None]
    whole = [part for one in files for part in (sorted(one.rglob("*")) if one.is_dir() else [one])]
    recording: Any = [file_record(one) for one in whole if one.is_file()]
    if not files:
        recording = hashlib.sha256(raw.get_data().tobytes()).hexdigest()
    events = hashlib.sha256(repr(asdict(run.events)).encode()).hexdigest()
    return {
        "recording": recording,
        "events": events,
        "bads": list(run.bads),
        "head_pos": _file(run.head_pos),
    }


def _file(place: Any) -> Any:
    """A file's record instead of where it lies; a place in the head as it is."""
    return file_record(Path(place)) if isinstance(place, str) and place else place


def _template(laid: Laid, kind: Kind, epoch: EpochSettings) -> xr.DataArray:
    axes, places = laid.axes[kind], laid.places
    shape = (len(places.stimuli), len(axes.channels), len(axes.times), places.count)
    values = da.zeros(shape, np.float32, chunks=shape)
    state = np.full((shape[0], shape[3]), ABSENT, object)
    return labelled(values, state, places, axes, laid.attrs, epoch.band).drop_vars(STATE)


def _range(part: slice) -> range:
    return range(part.start, part.stop)


def _note_name(run: Run) -> str:
    return f"ses-{run.session}_run-{run.run}" if run.session else f"run-{run.run}"
