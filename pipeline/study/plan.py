"""What a run would do: steps, what is there already, tasks, bytes; nothing is computed."""

import math
from collections.abc import Iterator, Mapping

from pipeline import models
from pipeline.extract import block_size, task_bytes
from pipeline.plan import plan, size
from pipeline.study import recordings
from pipeline.study.geometry import results
from pipeline.study.imports import asked
from pipeline.study.names import expand, merged
from pipeline.study.schema import ExtractStep, ImportStep, PreprocessStep, ReportStep, RsaStep, Study
from stores import catalog, open_cube
from stores.dims import STIMULUS
from stores.place import Place
from stores.readers.request import read
from stores.stimuli import read_folder


def plan_lines(study: Study, planned: Mapping[str, list[str]]) -> Iterator[str]:
    """One line per step, from `check`'s list of the cubes each would make."""
    table = catalog(study.store)
    done = set(table.index[table["complete"]]) if len(table) else set()
    for name, step in study.steps.items():
        there = [cube for cube in planned[name] if cube in done]
        head = f"{name} ({step.verb}): {len(planned[name])} cubes, {len(there)} there already"
        match step:
            case _ if planned[name] and len(there) == len(planned[name]):
                yield f"{head}; nothing to do"
            case ImportStep():
                sizes = [cube.nbytes for cube in read(asked(step)).values()]
                yield f"{head}; writes {size(sum(sizes))} before compression"
            case PreprocessStep():
                yield f"{head}; {len(recordings.asked(step).runs)} recordings"
            case ExtractStep():
                yield f"{head}; {_extraction(study, planned, step)}"
            case RsaStep():
                yield f"{head}; {_geometry(study, planned, name, step, done)}"
            case ReportStep():
                yield f"{name} (report): writes {step.file}"


def _extraction(study: Study, planned: Mapping[str, list[str]], step: ExtractStep) -> str:
    spec = models.network_spec(
        step.network, weights=step.weights, untrained_seed=step.untrained, precision=step.precision
    )
    layers = models.find(models.build(spec), step.layers)
    count = _stimuli(study, planned, step)
    block = block_size(layers, count, step.batch, step.dtype)
    per_stimulus = sum(math.prod(layer.shape) for layer in layers) * int(step.dtype[5:]) // 8
    peak = task_bytes(layers, block, step.batch, step.dtype)
    return (
        f"{count} stimuli in {math.ceil(count / block)} tasks; writes {size(count * per_stimulus)} "
        f"before compression; {size(peak)} of values at most per task"
    )


def _stimuli(study: Study, planned: Mapping[str, list[str]], step: ExtractStep) -> int:
    """How many stimuli a step will see: of its folder, its cube, or the cube that an import will make."""
    if step.folder is not None:
        return len(read_folder(step.folder, on_error=step.on_error).ids)
    for name, other in study.steps.items():
        if isinstance(other, ImportStep) and step.stimuli in planned[name]:
            cubes = read(asked(other)).values()
            return int(dict(zip(planned[name], cubes, strict=True))[step.stimuli].sizes[STIMULUS])
    return int(open_cube(study.store, str(step.stimuli)).sizes[STIMULUS])


def _geometry(
    study: Study, planned: Mapping[str, list[str]], name: str, step: RsaStep, done: set[str]
) -> str:
    names = merged((cube for cubes in planned.values() for cube in cubes), sorted(done))
    candidates, _ = expand(step.candidates, names)
    references, _ = expand(step.reference, names)
    what = f"{len(candidates)} candidates against {', '.join(references)}"
    if not done.issuperset([*candidates, *references]):
        return f"{what}; tasks are counted once these are there"
    first = next(results(Place.of(study.store).url, name, step, candidates, references))
    return f"{what}; {plan(first.array).text()}"
