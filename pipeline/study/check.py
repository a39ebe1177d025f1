"""What is wrong with a study, and the cubes that each of its steps will make; nothing is computed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    own: dict[str, list[str]] = {name: [] for name in study.steps}
    makes = {name: _makes(run, name, step, own[name]) for name, step in study.steps.items()}
    run.makes = makes  # known of all steps, before names are looked up for any
    for name, step in study.steps.items():
        with _listed(name, own[name]):
            own[name] += _missing(run, name, step)
        run.planned[name] = _shared(run, name, step, makes[name])
        if own[name] and not isinstance(step, ReportStep):
            run.faulty += _prefixes(name, step)
    faults = [fault for found in own.values() for fault in found]
    if ends_with_report(study):
        faults += [f"the report at the end: {fault}" for fault in _not_shown(run, ReportStep(verb="report"))]
    faults += [*_clashes(study, run.planned), *_same_pages(study)]
    if faults:
        raise StudyError(f"the study {study.title!r} cannot run:\n  - " + "\n  - ".join(faults))
    return run.planned


def _makes(run: Run, name: str, step: Any, faults: list[str]) -> list[str]:
    """The cubes that a step will make; adds to `faults` where it cannot, or not under these names."""
    with _listed(name, faults):
        check_name(name)
        cubes = _cubes(run, name, step)
        for cube in cubes if not isinstance(step, RsaStep) else ():
            check_name(cube)
        return cubes
    return []


@contextmanager
def _listed(name: str, faults: list[str]) -> Iterator[None]:
    """Add what is wrong with a step to `faults`."""
    try:
        yield
    except (StoreError, StudyError, models.ModelError) as fault:
        faults.append(f"steps.{name}: {fault}")


def _cubes(run: Run, name: str, step: Any) -> list[str]:
    match step:
        case ImportStep():
            found = imports.makes(name, step)
            run.modalities |= found
            return list(found)
        case PreprocessStep():
            return recordings.asked(step).cubes(step.into or name)
        case ExtractStep():
            return extraction.makes(step)
        case RsaStep():
            # What regions there are is known once the measured cubes are.
            each = [f"rdm/{name}/<{step.by}>", f"rsa/{name}/<{step.by}>"]
            return [f"rdm/{name}/candidates", *(each if step.by else [f"rsa/{name}"])]
    return []


def _missing(run: Run, name: str, step: Any) -> list[str]:
    """A fault for everything that a step asks for and that will not be there."""
    match step:
        case ImportStep():
            return imports.missing(run, name, step)
        case ExtractStep():
            return extraction.missing(run, name, step)
        case RsaStep():
            asked = (step.candidates, step.reference)
            return [f"steps.{name}: {fault}" for patterns in asked for fault in run.matching(patterns)[1]]
        case ReportStep():
            faults = []
            if len(Path(step.file).parts) != 1:
                faults.append(
                    f"steps.{name}.file: {step.file!r} is not a file name: reports lie in the store"
                )
            return faults + [f"steps.{name}: {fault}" for fault in _not_shown(run, step)]
    return []


def _shared(run: Run, name: str, step: Any, cubes: list[str]) -> list[str]:
    """`cubes`, the RDMs of candidates under the name of the step that makes them for several."""
    if not isinstance(step, RsaStep) or not cubes:
        return cubes
    owner = scoring.owner_of(run, name, step, run.matching(step.candidates)[0])
    return [f"rdm/{owner}/candidates", *cubes[1:]]


def _not_shown(run: Run, step: ReportStep) -> list[str]:
    """A fault for each result that a page asks for and cannot show."""
    names, faults = run.matching(step.results)
    makers = {cube: run.study.steps[one] for one, cubes in run.planned.items() for cube in cubes}
    for name in names:
        if name in run.modalities:
            shown = report.shows(run.modalities[name])
        elif name in makers:
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


def _same_pages(study: Study) -> Iterator[str]:
    """A fault for every two steps that would write one page."""
    writers: dict[str, str] = {}
    for name, step in study.steps.items():
        if isinstance(step, ReportStep) and (first := writers.setdefault(Path(step.file).name, name)) != name:
            yield f"steps.{first} and steps.{name} both write {step.file}; give one of them another `file`"
