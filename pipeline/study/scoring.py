"""The `rsa` step: geometry of candidates against measured geometry, each result stored as it is made."""

import math
from collections.abc import Iterator

from pipeline.blocks import TASK_BYTES
from pipeline.cluster import Limits
from pipeline.plan import IDLE_BYTES
from pipeline.study import geometry
from pipeline.study.gaps import gaps
from pipeline.study.names import is_complete
from pipeline.study.run import Run
from pipeline.study.schema import RsaStep, StudyError
from stores import save


def rsa_step(run: Run, name: str, step: RsaStep) -> Iterator[str]:
    """Make the results of a step; yields their names. Raises StoreError, StudyError, PlanError."""
    candidates, references = run.found(step.candidates), run.found(step.reference)
    owner, room = owner_of(run, name, step, candidates), room_of(run.limits())
    for result in geometry.results(
        run.root, name, step, candidates, references, owner=owner, task_bytes=room
    ):
        there = not run.overwrite and is_complete(run.root, result.name)
        array = result.make()
        try:
            if any(coord.chunks for coord in array.coords.values()) and not there:
                array = array.compute()  # scores share their inputs with the ceilings beside them
            save(run.root, result.name, array, made_from=result.made_from, overwrite=run.overwrite)
        except ValueError as fault:
            if not (told := gaps(result.compared())):
                raise
            raise StudyError(f"steps.{name}: {told}") from fault
        run.listener.made(result.name, reused=there)
        yield result.name


def owner_of(run: Run, name: str, step: RsaStep, candidates: list[str]) -> str:
    """The first step that asks for the same RDMs of the same candidates: they are made once.

    candidates : what the step's patterns find, which may be more than they found for an earlier step.
    """
    if step.join != "exact":  # it may leave each step other stimuli
        return name
    return run.owners.setdefault((*step.candidates, "", *candidates, step.metric), name)


def room_of(found: Limits | None) -> int:
    """What one task may hold: the usual budget, or less where the workers have less."""
    if found is None or found.memory is None:
        return TASK_BYTES
    threads = math.ceil(found.threads / max(1, found.workers))
    return min(TASK_BYTES, max(0, found.memory - IDLE_BYTES) // threads)
