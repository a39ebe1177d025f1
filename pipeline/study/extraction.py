"""The `extract` step: layers of a network become activation cubes."""

import math
from pathlib import Path
from typing import Any

from pipeline import models
from pipeline.cluster import Limits
from pipeline.errors import PlanError
from pipeline.extract import block_size, extract, made_from, task_bytes, worker_bytes
from pipeline.plan import size
from pipeline.study.names import is_complete, is_pattern
from pipeline.study.run import Run
from pipeline.study.schema import ExtractStep, StudyError
from stores.errors import InputError
from stores.stimuli import Stimuli, image_paths, read_folder, read_images


def makes(step: ExtractStep) -> list[str]:
    """Names of the cubes that a step will make. Raises ModelError, StudyError for a layer without units."""
    spec = network(step)
    for layer in models.find(models.build(spec), step.layers):
        if not math.prod(layer.shape):
            sizes = " x ".join(map(str, layer.shape))
            raise StudyError(f"layer {layer.name!r} of {spec.name} has no units ({sizes}); leave it out")
    return [f"activations/{step.label or spec.label}/{layer}" for layer in step.layers]


def missing(run: Run, name: str, step: ExtractStep) -> list[str]:
    """A fault where the stimuli of a step are not to be found."""
    if step.folder is not None:
        return [f"steps.{name}.folder: {fault}" for fault in _folder_faults(Path(step.folder))]
    if is_pattern(cube := str(step.stimuli)):
        return [f"steps.{name}.stimuli: {cube!r} must name one cube"]
    return [f"steps.{name}: {fault}" for fault in run.matching(cube)[1]]


def _folder_faults(folder: Path) -> list[str]:
    """What a look at the names in a folder of images tells; whether they can be read, their step finds out."""
    try:
        image_paths(folder)
    except InputError as fault:
        return [str(fault)]
    return []


def extract_step(run: Run, step: ExtractStep) -> None:
    """Make the cubes of a step. Raises StoreError, ModelError, or PlanError where workers are too small."""
    pictures, spec = stimuli(run, step), network(step)
    require_room(run.limits(), step, spec, len(pictures.ids))
    there = [] if run.overwrite else [name for name in makes(step) if is_complete(run.root, name)]
    made = extract(
        pictures,
        spec,
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
        run.listener.made(cube, reused=cube in there)


def origins(run: Run, step: ExtractStep) -> dict[str, dict[str, Any]]:
    """What each cube of a step would be made from, by its name; every picture is read."""
    pictures, spec = stimuli(run, step), network(step)
    built = models.build(spec)
    return {
        f"activations/{step.label or spec.label}/{layer.name}": made_from(
            pictures, built, layer, step.batch, step.dtype
        )
        for layer in models.find(built, step.layers)
    }


def network(step: ExtractStep) -> models.NetworkSpec:
    """The network that a step asks for. Raises ModelError."""
    return models.network_spec(
        step.network,
        weights=step.weights,
        untrained_seed=step.untrained,
        transform=step.transform or None,
        precision=step.precision,
    )


def stimuli(run: Run, step: ExtractStep) -> Stimuli:
    """The pictures of a step, each of them read. Raises StoreError."""
    if step.folder is not None:
        folder = read_folder(step.folder, on_error=step.on_error)
        if folder.losses:
            run.listener.said(folder.losses)
        return folder
    return read_images(run.root, str(step.stimuli))


def require_room(found: Limits | None, step: ExtractStep, spec: models.NetworkSpec, count: int) -> None:
    """Raise PlanError where the workers cannot hold what a task of the extraction does."""
    if found is None or found.memory is None:
        return
    built = models.build(spec)
    layers = models.find(built, step.layers)
    task = task_bytes(layers, block_size(layers, count, step.batch, step.dtype), step.batch, step.dtype)
    threads = math.ceil(found.threads / max(1, found.workers))
    if (need := worker_bytes(built, task, threads)) > found.memory:
        raise PlanError(
            f"{spec.label}: a task holds {size(task)} of activations, and a worker with {threads} at a time, "
            f"torch and the network {size(need)}; a worker has {size(found.memory)}. Take fewer layers in one "
            f"step, a smaller `batch` (it is {step.batch}), or workers with more memory or fewer threads."
        )
