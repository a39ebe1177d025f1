"""Running a study: everything is checked first, then each step makes what is missing, in order."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from pipeline import models, report
from pipeline.blocks import TASK_BYTES
from pipeline.cluster import limits
from pipeline.errors import PlanError
from pipeline.extract import block_size, extract, worker_bytes
from pipeline.extract import task_bytes as extraction_bytes
from pipeline.fill import Client, Progress
from pipeline.plan import IDLE_BYTES, size
from pipeline.study import geometry, imports, recordings
from pipeline.study.names import expand, merged
from pipeline.study.schema import (
    ExtractStep,
    ImportStep,
    PreprocessStep,
    ReportStep,
    RsaStep,
    Study,
    StudyError,
)
from stores import StoreError, catalog, open_cube, save
from stores.dims import STIMULUS
from stores.place import Place, check_name
from stores.stimuli import Stimuli, read_folder, read_images
from stores.target import COMPLETE


class Listener(Protocol):
    """Hears what a run does."""

    def step(self, name: str, verb: str) -> None:
        """A step begins."""

    def made(self, cube: str, reused: bool) -> None:
        """A cube or result is complete: just made, or found so."""

    def said(self, text: str) -> None:
        """Something that a person should know, such as what an import left out."""

    @property
    def progress(self) -> Progress | None:
        """Called while a big cube is filled."""


class Silent:
    """Hears nothing."""

    progress: Progress | None = None

    def step(self, name: str, verb: str) -> None:
        """A step begins."""

    def made(self, cube: str, reused: bool) -> None:
        """A cube or result is complete."""

    def said(self, text: str) -> None:
        """Something a person should know."""


@dataclass
class Run:
    """One run of a study: where, with what client, and the cubes that its steps have planned so far.

    notice : what a reader of the report must not overlook.
    findings : from the results by name to sentences that lead the report.
    """

    study: Study
    listener: Listener
    client: Client | None = None
    overwrite: bool = False
    notice: str = ""
    findings: Callable[[Mapping[str, xr.DataArray]], Sequence[str]] | None = None
    planned: dict[str, list[str]] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The store's URL."""
        return Place.of(self.study.store).url

    def results(self) -> list[str]:
        """The scores that this run has made."""
        return [name for name in self.names() if name.startswith("rsa/")]

    def names(self) -> list[str]:
        """Every cube that there is or will be: the study's own first, in the order of its steps."""
        own = [name for names in self.planned.values() for name in names]
        return merged(own, catalog(self.root).index)


def check(study: Study) -> dict[str, list[str]]:
    """The cubes each step will make. Raises StudyError with everything that is wrong, before anything runs."""
    run = Run(study, Silent())
    faults: list[str] = []
    for name, step in study.steps.items():
        run.planned[name] = []
        try:
            check_name(name)
            run.planned[name] = _plan(run, name, step, faults)
        except (StoreError, models.ModelError) as fault:
            faults.append(f"steps.{name}: {fault}")
    if faults:
        raise StudyError(f"the study {study.title!r} cannot run:\n  - " + "\n  - ".join(faults))
    return run.planned


def _plan(run: Run, name: str, step: Any, faults: list[str]) -> list[str]:
    match step:
        case ImportStep():
            return imports.plan(run, name, step, faults)
        case PreprocessStep():
            return recordings.asked(step).cubes(step.into or name)
        case ExtractStep():
            return _plan_extraction(run, name, step, faults)
        case RsaStep():
            found: list[str] = []
            for patterns in (step.candidates, step.reference):
                names, missing = expand(patterns, run.names())
                faults += [f"steps.{name}: {fault}" for fault in missing]
                found += names
            return [f"rdm/{_owner(run.study, name, step)}/candidates", f"rsa/{name}"]
        case ReportStep():
            if len(Path(step.file).parts) != 1:
                faults.append(
                    f"steps.{name}.file: {step.file!r} is not a file name: reports lie in the store"
                )
            # What regions there are is known once the measured cubes are: their results are not looked for yet.
            later = tuple(
                f"{kind}/{other}/"
                for kind in ("rsa", "rdm")
                for other, one in run.study.steps.items()
                if isinstance(one, RsaStep) and one.by
            )
            wanted = [pattern for pattern in step.results if not pattern.startswith(later or "//")]
            _, missing = expand(wanted, run.names())
            faults += [f"steps.{name}: {fault}" for fault in missing]
    return []


def _plan_extraction(run: Run, name: str, step: ExtractStep, faults: list[str]) -> list[str]:
    spec = _network(step)
    if step.folder is not None and not Path(step.folder).is_dir():
        faults.append(f"steps.{name}.folder: {step.folder} is not a folder")
    if step.stimuli is not None:
        _, missing = expand(step.stimuli, run.names())
        faults += [f"steps.{name}: {fault}" for fault in missing]
    models.find(models.build(spec), step.layers)
    return [f"activations/{step.label or spec.label}/{layer}" for layer in step.layers]


def run_study(run: Run) -> list[str]:
    """Do every step, in order; returns the pages written. What is complete already is reused."""
    run.planned = check(run.study)
    pages = []
    for name, step in run.study.steps.items():
        run.listener.step(name, step.verb)
        match step:
            case ImportStep():
                imports.import_step(run, name, step)
            case PreprocessStep():
                recordings.preprocess_step(run, name, step)
            case ExtractStep():
                _extract(run, step)
            case RsaStep():
                run.planned[name] = list(_rsa(run, name, step))
            case ReportStep():
                pages.append(_report(run, step))
    verbs = {step.verb for step in run.study.steps.values()}
    if "rsa" in verbs and "report" not in verbs:
        pages.append(_report(run, ReportStep(verb="report")))
    return pages


def _extract(run: Run, step: ExtractStep) -> None:
    stimuli, network = _stimuli(run, step), _network(step)
    _require_room(run.client, step, network, len(stimuli.ids))
    made = extract(
        stimuli,
        network,
        step.layers,
        run.root,
        label=step.label,
        batch_size=step.batch,
        dtype=step.dtype,
        client=run.client,
        progress=run.listener.progress,
        overwrite=run.overwrite,
    )
    for cube in made.cubes.values():
        run.listener.made(cube, reused=made.tasks == 0)


def _require_room(
    client: Client | None, step: ExtractStep, network: models.NetworkSpec, stimuli: int
) -> None:
    """Raise PlanError where the workers cannot hold what a task of the extraction does."""
    if client is None or (found := limits(client)).memory is None:
        return
    built = models.build(network)
    layers = models.find(built, step.layers)
    task = extraction_bytes(
        layers, block_size(layers, stimuli, step.batch, step.dtype), step.batch, step.dtype
    )
    threads = math.ceil(found.threads / max(1, found.workers))
    if (need := worker_bytes(built, task, threads)) > found.memory:
        raise PlanError(
            f"{network.label}: a task holds {size(task)} of activations, and a worker with {threads} at a time, "
            f"torch and the network {size(need)}; a worker has {size(found.memory)}. Take fewer layers in one "
            f"step, a smaller `batch` (it is {step.batch}), or workers with more memory or fewer threads."
        )


def _rsa(run: Run, name: str, step: RsaStep) -> Iterator[str]:
    candidates, _ = expand(step.candidates, run.names())
    references, _ = expand(step.reference, run.names())
    shared, room = _owner(run.study, name, step), task_bytes(run.client)
    for result in geometry.results(
        run.root, name, step, candidates, references, owner=shared, task_bytes=room
    ):
        there = not run.overwrite and (Place.of(run.root) / result.name).read(COMPLETE) is not None
        lazy_coords = any(coord.chunks for coord in result.array.coords.values())
        # Scores share their inputs with the ceilings beside them: one computation for all.
        array = result.array.compute() if lazy_coords and not there else result.array
        save(run.root, result.name, array, made_from=result.made_from, overwrite=run.overwrite)
        run.listener.made(result.name, reused=there)
        yield result.name


def _owner(study: Study, name: str, step: RsaStep) -> str:
    """The first step that asks for the same RDMs of the same candidates: they are made once."""
    if step.join != "exact":  # it may leave each step other stimuli
        return name
    asked = (step.candidates, step.metric, step.join)
    same = [
        other
        for other, one in study.steps.items()
        if isinstance(one, RsaStep) and (one.candidates, one.metric, one.join) == asked
    ]
    return same[0]


def task_bytes(client: Client | None) -> int:
    """What one task may hold: the usual budget, or less where the workers of `client` have less."""
    if client is None or (found := limits(client)).memory is None:
        return TASK_BYTES
    threads = math.ceil(found.threads / max(1, found.workers))
    return min(TASK_BYTES, max(0, found.memory - IDLE_BYTES) // threads)


def _report(run: Run, step: ReportStep) -> str:
    wanted, faults = expand(step.results, run.names())
    if faults:
        raise StudyError("; ".join(faults))
    results = {name: open_cube(run.root, name) for name in wanted}
    place = Place.of(run.root)
    folder = place.local or Path.cwd()
    return str(
        report.write(
            folder / step.file,
            title=step.title or run.study.title,
            text=run.study.about,
            results=results,
            notice=run.notice,
            findings=run.findings(results) if run.findings else (),
            categories=_categories(run),
        )
    )


def _categories(run: Run) -> dict[str, str]:
    """Category of each stimulus, from the first cube of this study that has any."""
    for name in (cube for cubes in run.planned.values() for cube in cubes):
        if name in catalog(run.root).index:
            cube = open_cube(run.root, name)
            if STIMULUS in cube.dims and "category" in cube.coords:
                return dict(
                    zip(map(str, cube[STIMULUS].values), map(str, cube["category"].values), strict=True)
                )
    return {}


def _network(step: ExtractStep) -> models.NetworkSpec:
    return models.network_spec(
        step.network,
        weights=step.weights,
        untrained_seed=step.untrained,
        transform=step.transform or None,
        precision=step.precision,
    )


def _stimuli(run: Run, step: ExtractStep) -> Stimuli:
    if step.folder is not None:
        folder = read_folder(step.folder, on_error=step.on_error)
        if folder.losses:
            run.listener.said(folder.losses)
        return folder
    return read_images(run.root, str(step.stimuli))
