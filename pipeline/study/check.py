"""What is wrong with a study, and the cubes that each of its steps will make; nothing is computed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import models, report
from pipeline.study import extraction, imports, recordings, scoring
from pipeline.study.names import is_complete
from pipeline.study.run import Run, Silent
from pipeline.study.schema import (
    ExtractStep,
    ImportStep,
    PreprocessStep,
    ReportStep,
    RsaStep,
    Study,
    StudyError,
)
from stores import StoreError, open_cube
from stores.place import check_name


def check(study: Study) -> dict[str, list[str]]:
    """The cubes each step will make. Raises StudyError with everything that is wrong, before anything runs."""
    run = Run(study, Silent())
    faults: list[str] = []
    for name, step in study.steps.items():
        run.planned[name] = []
        own: list[str] = []
        try:
            check_name(name)
            run.planned[name] = _plan(run, name, step, own)
        except (StoreError, StudyError, models.ModelError) as fault:
            own.append(f"steps.{name}: {fault}")
        if own and not isinstance(step, ReportStep):
            run.faulty += _prefixes(name, step)
        faults += own
    if ends_with_report(study):
        faults += [f"the report at the end: {fault}" for fault in _not_shown(run, ReportStep(verb="report"))]
    faults += _clashes(study, run.planned)
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
            return extraction.plan(run, name, step, faults)
        case RsaStep():
            for patterns in (step.candidates, step.reference):
                _, missing = run.matching(patterns)
                faults += [f"steps.{name}: {fault}" for fault in missing]
            shared = f"rdm/{scoring.owner_of(run.study, name, step)}/candidates"
            # What regions there are is known once the measured cubes are.
            each = [f"rdm/{name}/<{step.by}>", f"rsa/{name}/<{step.by}>"]
            return [shared, *(each if step.by else [f"rsa/{name}"])]
        case ReportStep():
            if len(Path(step.file).parts) != 1:
                faults.append(
                    f"steps.{name}.file: {step.file!r} is not a file name: reports lie in the store"
                )
            faults += [f"steps.{name}: {fault}" for fault in _not_shown(run, step)]
    return []


def _not_shown(run: Run, step: ReportStep) -> list[str]:
    """A fault for each result that a page asks for and cannot show."""
    names, faults = run.matching(step.results)
    makers = {cube: run.study.steps[one] for one, cubes in run.planned.items() for cube in cubes}
    for name in names:
        if name in makers:  # what an import makes may well be RDMs
            shown = not isinstance(makers[name], ExtractStep | PreprocessStep)
        else:
            shown = not is_complete(run.root, name) or report.shows(
                open_cube(run.root, name).attrs["modality"]
            )
        if not shown:
            faults.append(f"{name} is no result that a report shows; leave it out of `results`")
    return faults


def ends_with_report(study: Study) -> bool:
    """Whether a page of all results follows the steps: there are some, and no step asks for one."""
    verbs = {step.verb for step in study.steps.values()}
    return "rsa" in verbs and "report" not in verbs


def _prefixes(name: str, step: Any) -> tuple[str, ...]:
    """How the names begin of what a step makes."""
    match step:
        case ExtractStep():
            return ("activations/",)
        case RsaStep():
            return f"rsa/{name}", f"rdm/{name}"
    return (f"{step.into or name}/",)


def _clashes(study: Study, planned: Mapping[str, list[str]]) -> Iterator[str]:
    """A fault for every two steps that would make cubes of one name."""
    makers: dict[str, str] = {}
    twice: dict[tuple[str, str], list[str]] = {}
    for name, step in study.steps.items():
        if isinstance(step, RsaStep):  # they share the RDMs of their candidates, on purpose
            continue
        for cube in dict.fromkeys(planned[name]):
            if (first := makers.setdefault(cube, name)) != name:
                twice.setdefault((first, name), []).append(cube)
    for (first, name), cubes in twice.items():
        more = f" and {len(cubes) - 1} more" if len(cubes) > 1 else ""
        key = "label" if isinstance(study.steps[name], ExtractStep) else "into"
        yield f"steps.{first} and steps.{name} both make {cubes[0]}{more}; give one of them another `{key}`"
