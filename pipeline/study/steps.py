"""Doing the steps of a study: everything is checked first, then each makes what is missing, in order."""

from pathlib import Path

from pipeline import report
from pipeline.study import extraction, imports, recordings, scoring
from pipeline.study.check import check, ends_with_report
from pipeline.study.names import is_complete
from pipeline.study.run import Run
from pipeline.study.schema import ExtractStep, ImportStep, PreprocessStep, ReportStep, RsaStep
from stores import open_cube
from stores.dims import STIMULUS
from stores.place import Place


def run_study(run: Run) -> list[str]:
    """Do every step, in order; returns the pages written. What is complete already is reused."""
    run.makes = planned = check(run.study)
    run.planned, run.owners = {}, {}
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
    if ends_with_report(run.study):
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
