"""The sections of RDMs: measured ones, and those of candidates."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.report import terms
from pipeline.report.parts import Row, Section
from pipeline.report.rdms import LABEL, MOST, SMALL, candidate_images, cell, pairs_of, rdm_images
from stores.dims import CANDIDATE, PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME

CANDIDATES = 24
"""Candidates that a page shows: the first ones."""


def rdm(name: str, result: xr.DataArray, categories: Mapping[str, str]) -> Section:
    """An RDM, or those of several subjects."""
    result = result.compute()
    ids = pairs_of(result).ids
    subjects, times = result.sizes.get(SUBJECT, 0), result.sizes[TIME]
    categories = categories or _own_categories(result)
    of = f", {terms.count(subjects, 'subject')}" if subjects else ""
    when = f", {terms.count(times, 'time point')}" if times > 1 else ""
    values = result.values[np.isfinite(result.values)]
    limits = (
        f"{terms.significant(values.min())} to {terms.significant(values.max())}"
        if len(values)
        else "none defined"
    )
    panels = subjects + 1 if subjects > 1 else times
    means = " Each square is a mean over time." if subjects > 1 and times > 1 else ""
    fewer = " Of all panels, an even spread is shown." if panels > MOST else ""
    return Section(
        name,
        "Representational dissimilarity",
        rdm_images(result, categories) if result.sizes[PAIR] else None,
        f"Matrix of dissimilarities between {_shape(result, ids)}{of}{when}; {limits}.",
        f"{_shape(result, ids)}{of}{when}. {_cells(result, cell(len(ids)))}; values are "
        f"{limits}, and colours end at the 1st and 99th percentile.{_sorted(ids, categories)}{means}{fewer}",
        wide=panels > 1,
    )


def candidates(name: str, result: xr.DataArray, categories: Mapping[str, str]) -> Section:
    """RDMs of candidates, such as the layers of networks: the first 24, with what their colours mean."""
    every = result.sizes[CANDIDATE]
    result = result.isel({CANDIDATE: slice(CANDIDATES)}).compute()
    shown, ids = result.sizes[CANDIDATE], pairs_of(result).ids
    categories = categories or _own_categories(result)
    more = (
        f" The first {shown} of {every:,} are shown; {every - shown:,} more are not." if every > shown else ""
    )
    when = (
        f" Each square is a mean over {result.sizes[TIME]:,} time points." if result.sizes[TIME] > 1 else ""
    )
    drawn = bool(shown and result.sizes[PAIR])
    of = terms.count(every, "candidate")
    return Section(
        name,
        "Representational dissimilarity of each candidate",
        candidate_images(result, categories) if drawn else None,
        f"Matrices of dissimilarities between {_shape(result, ids)}, of {of}: "
        f"{terms.listed(map(str, result[CANDIDATE].values))}.",
        f"{_shape(result, ids)}, {of}. {_cells(result, cell(len(ids), SMALL))}. Every square "
        "has colours of its own, dark at its 1st percentile and light at its 99th, so that patterns can be "
        f"compared; the table tells what they stand for.{_sorted(ids, categories)}{when}{more}",
        ("Network", "Layer", "1st percentile", "Median", "99th percentile"),
        texts=2,
        rows=_quantiles(result) if drawn else (),
    )


def _quantiles(result: xr.DataArray) -> tuple[Row, ...]:
    rows = []
    for one in result.mean(TIME):
        known = one.values[np.isfinite(one.values)]
        cells = np.percentile(known, [1, 50, 99]) if len(known) else np.full(3, np.nan)
        rows.append(
            Row((str(one["network"].item()), str(one["layer"].item()), *map(terms.significant, cells)))
        )
    return tuple(rows)


def _shape(result: xr.DataArray, ids: list[str]) -> str:
    return f"{terms.count(len(ids), 'stimulus', 'stimuli')}, {terms.count(result.sizes[PAIR], 'pair')}"


def _cells(result: xr.DataArray, k: int) -> str:
    means = f", averaged over {k} by {k} neighbours" if k > 1 else ""
    return f"Each cell is the dissimilarity of two stimuli{means}, {terms.metric(result)}"


def _sorted(ids: list[str], categories: Mapping[str, str]) -> str:
    known = list(dict.fromkeys(categories[one] for one in ids if one in categories))
    if not known:
        return ""
    names = f": {terms.listed(known)}" if max(map(len, known)) > LABEL else ""
    return f" Stimuli are sorted into {terms.count(len(known), 'category', 'categories')}{names}."


def _own_categories(result: xr.DataArray) -> dict[str, str]:
    found: dict[str, str] = {}
    for ids, names in ((STIMULUS_A, "category_a"), (STIMULUS_B, "category_b")):
        if names in result.coords:
            found |= dict(zip(map(str, result[ids].values), map(str, result[names].values), strict=True))
    return found
