"""What a run would do: steps, what is there already, tasks, bytes; nothing is computed."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import models
from pipeline.blocks import TASK_BYTES
from pipeline.cluster import Limits
from pipeline.extract import block_size, task_bytes
from pipeline.plan import plan, size
from pipeline.study import extraction, geometry, imports, recordings, scoring
from pipeline.study.names import is_complete
from pipeline.study.run import Run, Silent
from pipeline.study.schema import ExtractStep, ImportStep, PreprocessStep, ReportStep, RsaStep, Study
from stores import open_cube
from stores.catalog import names as stored
from stores.dims import STIMULUS
from stores.place import Place
from stores.readers.request import read
from stores.resume import recorded


def plan_lines(
    study: Study,
    planned: Mapping[str, list[str]],
    *,
    found: Limits | None = None,
    overwrite: bool = False,
) -> Iterator[str]:
    """One line per step, from `check`'s list of the cubes each would make.

    found : what the workers would offer, where that is known. Raises what the run would raise: PlanError where
    they are too small, StudyError and StoreError where cubes that are there do not fit.
    """
    run = Run(study, Silent(), overwrite=overwrite, makes=planned)
    begun = set(stored(run.root))
    done = {name for name in begun if is_complete(run.root, name)}
    if overwrite:
        done -= {cube for cubes in planned.values() for cube in cubes}
    for name, step in study.steps.items():
        records = _records(run, name, step, planned[name], done, begun)
        names = list(records) or planned[name]
        there = [] if overwrite else [cube for cube in names if cube in done]
        head = f"{name} ({step.verb}): {len(names)} cubes, {len(there)} there already"
        stale = {} if overwrite else _stale(run.root, records, begun)
        done -= stale.keys()
        match step:
            case _ if stale:
                yield f"{head}; the run refuses what was made from something else: {_told(stale)}"
            case _ if there and len(there) == len(names):
                yield f"{head}; nothing to do"
            case ImportStep():
                sizes = [cube.nbytes for cube in read(imports.asked(step)).values()]
                yield f"{head}; writes {size(sum(sizes))} before compression"
            case PreprocessStep():
                wanted = recordings.asked(step)
                recordings.require_room(found, wanted)
                yield f"{head}; {len(wanted.runs)} recordings"
            case ExtractStep():
                yield f"{head}; {_extraction(run, step, found)}"
            case RsaStep():
                yield f"{head}; {_geometry(run, name, step, done, found)}"
            case ReportStep():
                yield f"{name} (report): writes {step.file}"
        run.planned[name] = names


def _records(
    run: Run, name: str, step: Any, planned: list[str], done: set[str], begun: set[str]
) -> Mapping[str, Mapping[str, Any]]:
    """What each cube of a step would be made from, by its name; empty where that is not known yet.

    Recordings are not read to know it: the run hashes them.
    """
    match step:
        case ImportStep() if begun.intersection(planned):
            if done.issuperset(one.cube for one in step.labels):
                return imports.origins(run, name, step)
        case ExtractStep() if begun.intersection(planned):
            if step.folder is not None or step.stimuli in done:
                return extraction.origins(run, step)
        case RsaStep():
            if results := _results(run, name, step, done):
                return {one.name: one.made_from for one in results}
    return {}


def _stale(root: str, records: Mapping[str, Mapping[str, Any]], begun: set[str]) -> dict[str, list[str]]:
    """Cubes that are there and were made from something else, and how that differs."""
    found = {}
    for name in (name for name in records if name in begun):
        _, changes = recorded(Place.of(root) / name, name, records[name])
        if changes:
            found[name] = changes
    return found


def _told(stale: Mapping[str, list[str]]) -> str:
    name, changes = next(iter(stale.items()))
    more = f", and {len(stale) - 1} more cubes" if len(stale) > 1 else ""
    return (
        f"{name} ({'; '.join(changes)}){more}. Give the result another name, or replace it with --overwrite"
    )


def _extraction(run: Run, step: ExtractStep, found: Limits | None) -> str:
    spec, count = extraction.network(step), _stimuli(run, step)
    extraction.require_room(found, step, spec, count)
    layers = models.find(models.build(spec), step.layers)
    block = block_size(layers, count, step.batch, step.dtype)
    per_stimulus = sum(math.prod(layer.shape) for layer in layers) * int(step.dtype[5:]) // 8
    peak = task_bytes(layers, block, step.batch, step.dtype)
    return (
        f"{count} stimuli in {math.ceil(count / block)} tasks; writes {size(count * per_stimulus)} "
        f"before compression; {size(peak)} of values at most per task"
    )


def _stimuli(run: Run, step: ExtractStep) -> int:
    """How many stimuli a step will see: of its folder, its cube, or the cube that an import will make."""
    if step.folder is not None:
        return len(extraction.stimuli(run, step).ids)
    for name, other in run.study.steps.items():
        if isinstance(other, ImportStep) and step.stimuli in run.planned.get(name, ()):
            cubes = read(imports.asked(other)).values()
            return int(dict(zip(run.planned[name], cubes, strict=True))[str(step.stimuli)].sizes[STIMULUS])
    return int(open_cube(run.root, str(step.stimuli)).sizes[STIMULUS])


def _geometry(run: Run, name: str, step: RsaStep, done: set[str], found: Limits | None) -> str:
    candidates, references = run.found(step.candidates), run.found(step.reference)
    what = f"{len(candidates)} candidates against {', '.join(references)}"
    if not (results := _results(run, name, step, done, scoring.room_of(found))):
        each = f", for each {step.by} that there will be" if step.by else ""
        return f"{what}{each}; tasks are counted once these are there"
    return f"{what}; {plan(results[0].make()).text()}"


def _results(
    run: Run, name: str, step: RsaStep, done: set[str], room: int = TASK_BYTES
) -> list[geometry.Result]:
    """What a step would store; nothing where a cube that it needs is still to be made."""
    candidates, references = run.found(step.candidates), run.found(step.reference)
    owner = scoring.owner_of(run, name, step, candidates)
    if not done.issuperset([*candidates, *references]):
        return []
    return list(geometry.results(run.root, name, step, candidates, references, owner=owner, task_bytes=room))
