"""Running a study: everything is checked first, then each step makes what is missing, in order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from pipeline import models, report
from pipeline.cluster import Limits, limits
from pipeline.fill import Client, Progress
from pipeline.study import extraction, imports, recordings, scoring
from pipeline.study.names import expand, is_complete, merged
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
from stores.catalog import names as stored
from stores.dims import STIMULUS
from stores.place import Place, check_name


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
    faulty : how names begin of what a step at fault would have made.
    """

    study: Study
    listener: Listener
    client: Client | None = None
    overwrite: bool = False
    notice: str = ""
    findings: Callable[[Mapping[str, xr.DataArray]], Sequence[str]] | None = None
    planned: dict[str, list[str]] = field(default_factory=dict)
    faulty: list[str] = field(default_factory=list)

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
        return merged(own, stored(self.root))

    def matching(self, patterns: str | Sequence[str]) -> tuple[list[str], list[str]]:
        """Names of the cubes that are asked for; a fault for each that is not there, or was only begun."""
        own = [name for names in self.planned.values() for name in names]
        later = tuple(name.partition("<")[0] for name in own if name.endswith(">"))
        names, faults = expand(patterns, self.names(), hoped=(*later, *self.faulty))
        faults += [
            f"{name} is not complete, and no earlier step completes it: run again what makes it, or name the "
            "others without it"
            for name in names
            if name not in own and not name.startswith(later) and not is_complete(self.root, name)
        ]
        return names, faults

    def found(self, patterns: str | Sequence[str]) -> list[str]:
        """Names of the cubes that are asked for. Raises StudyError."""
        names, faults = self.matching(patterns)
        if faults:
            raise StudyError("; ".join(faults))
        return names

    def limits(self) -> Limits | None:
        """What the workers offer; None without a cluster."""
        return None if self.client is None else limits(self.client)


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
            run.faulty.append(_prefix(name, step))
        faults += own
    if _ends_with_report(study):
        faults += [
            f"the report at the end: {fault}" for fault in run.matching(ReportStep(verb="report").results)[1]
        ]
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
            _, missing = run.matching(step.results)
            faults += [f"steps.{name}: {fault}" for fault in missing]
    return []


def _ends_with_report(study: Study) -> bool:
    """Whether a page of all results follows the steps: there are some, and no step asks for one."""
    verbs = {step.verb for step in study.steps.values()}
    return "rsa" in verbs and "report" not in verbs


def _prefix(name: str, step: Any) -> str:
    """How the names begin of what a step makes."""
    match step:
        case ExtractStep():
            return "activations/"
        case RsaStep():
            return f"rsa/{name}"
    return f"{step.into or name}/"


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


def run_study(run: Run) -> list[str]:
    """Do every step, in order; returns the pages written. What is complete already is reused."""
    planned = check(run.study)
    run.planned = {}
    pages = []
    for name, step in run.study.steps.items():
        run.listener.step(name, step.verb)
        match step:
            case ImportStep():
                imports.import_step(run, name, step)
            case PreprocessStep():
                recordings.preprocess_step(run, name, step)
            case ExtractStep():
                extraction.extract_step(run, step)
            case RsaStep():
                planned[name] = list(scoring.rsa_step(run, name, step))
            case ReportStep():
                pages.append(_report(run, step))
        run.planned[name] = planned[name]
    if _ends_with_report(run.study):
        pages.append(_report(run, ReportStep(verb="report")))
    return pages


def _report(run: Run, step: ReportStep) -> str:
    results = {name: open_cube(run.root, name) for name in run.found(step.results)}
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
        if is_complete(run.root, name):
            cube = open_cube(run.root, name)
            if STIMULUS in cube.dims and "category" in cube.coords:
                return dict(
                    zip(map(str, cube[STIMULUS].values), map(str, cube["category"].values), strict=True)
                )
    return {}
