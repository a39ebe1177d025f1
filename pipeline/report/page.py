"""The report: one HTML page that needs nothing but itself, the same bytes for the same results."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jinja2
import xarray as xr

from pipeline.report import sections, terms
from pipeline.report.parts import Section
from pipeline.report.style import styled

NO_CATEGORIES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class _Made:
    name: str
    facts: Mapping[str, Any]


def write(
    path: str | Path,
    *,
    title: str,
    results: Mapping[str, xr.DataArray] | Iterable[xr.DataArray],
    text: str = "",
    notice: str = "",
    findings: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
    categories: Mapping[str, str] = NO_CATEGORIES,
    made: str = "",
) -> Path:
    """Write `results` as one self-contained page to `path`, whole or not at all; returns `path`.

    results : arrays of the specs rsa, rdm, rdm_stack, rdm_candidates, noise_ceiling, shown in this order; by
        name, or each with its own `.name`. Lazy ones are computed, one at a time.
    text : what was asked, in paragraphs parted by empty lines.    notice : what a reader must not overlook.
    findings : sentences that lead the page, after one on the best layer of each RSA result.
    parameters : names and values of what was chosen.    made : when and by what, if it is to be said: a clock
        is never read, so that the same results give the same bytes.
    categories : category of each stimulus id; RDMs are sorted by it. Else their own `category_a`, `category_b`.
    Raises VerbError, before anything is computed, for an array that is no result of these kinds; and
    for an RDM that holds a pair of stimuli twice.
    """
    named = _named(results)
    for name, one in named.items():
        sections.require_shown(name, one)
    with styled():
        shown = [sections.section(name, result, categories) for name, result in named.items()]
    page = _template().render(
        title=title,
        paragraphs=[part.strip() for part in text.split("\n\n") if part.strip()],
        notice=notice,
        findings=[*_best(shown), *findings],
        parameters=parameters or {},
        sections=shown,
        made=made,
        provenance=[_Made(name, facts) for name, one in named.items() if (facts := terms.provenance(one))],
    )
    return _replace(Path(path), page)


def _named(results: Mapping[str, xr.DataArray] | Iterable[xr.DataArray]) -> dict[str, xr.DataArray]:
    if isinstance(results, Mapping):
        return dict(results)
    named: dict[str, xr.DataArray] = {}
    for one in results:
        name = str(one.name or one.attrs.get("modality"))
        if name in named:
            raise ValueError(f"two results are called {name!r}; pass a mapping from name to result")
        named[name] = one
    return named


def _best(shown: Iterable[Section]) -> list[str]:
    return [one.best for one in shown if one.best]


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((files("pipeline.report") / "page.html.j2").read_text(encoding="utf-8"))


def _replace(path: Path, page: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        # A file name that is no UTF-8 reaches its result's provenance as lone surrogates.
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
