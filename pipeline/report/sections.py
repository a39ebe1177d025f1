"""One result, one section: its figure, what the figure shows, and its table."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup

from pipeline.report import terms
from pipeline.report.curves import layer_curves, shown_score, time_curves
from pipeline.report.rdms import MOST, cell, rdm_images
from pipeline.report.tables import stimulus_ids, table
from stores.dims import PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME
from stores.specs import CEILING, RDM, RDM_STACK, RSA

SCORES: Final = (
    "Score: with the mean of the measured RDMs. Mean over subjects: with each subject's RDM, then averaged; the "
    "noise ceiling bounds this one."
)


@dataclass(frozen=True)
class Row:
    """One row of a table: its cells as text, and whether it is the best of its kind."""

    cells: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True)
class Section:
    """What the page shows of one result. `figure` is an SVG element, `alt` what it shows in words."""

    name: str
    kind: str
    figure: Markup | None
    alt: str
    caption: str
    columns: tuple[str, ...] = ()
    texts: int = 0
    rows: tuple[Row, ...] = ()
    wide: bool = True
    note: str = ""
    best: str = ""


def section(name: str, result: xr.DataArray, categories: Mapping[str, str]) -> Section:
    """The section of `result`, which is of one of the kinds in `SECTIONS`; raises ValueError for another."""
    kind = str(result.attrs.get("modality"))
    if kind not in SECTIONS:
        raise ValueError(f"the report shows {', '.join(SECTIONS)}; {name!r} is {kind!r}")
    return SECTIONS[kind](name, result, categories)


def _rsa(name: str, result: xr.DataArray, _: Mapping[str, str]) -> Section:
    return _rsa_in_time(name, result) if result.sizes[TIME] > 1 else _rsa_by_layer(name, result)


def _rsa_by_layer(name: str, result: xr.DataArray) -> Section:
    frame = table(result)
    scores = shown_score(result).isel({TIME: 0}).values
    subjects = bool(np.isfinite(frame["subject_score"]).any())
    columns = {"score": "Score"} | (
        {"subject_score": "Mean over subjects", "sem": "± SEM"} if subjects else {}
    )
    bounded = bool(np.isfinite(frame["ceiling_lower"]).any())
    best = _best_rows(frame["network"].to_numpy(), scores)
    rows = tuple(
        Row((*_labels(row), *_cells(row, columns), *([_ceiling(row)] if bounded else [])), best=at in best)
        for at, row in enumerate(frame.to_dict("records"))
    )
    method, reference = terms.method(result), result.attrs["reference"]
    return Section(
        name,
        "Layers compared with measured RDMs",
        layer_curves(result),
        f"{method} of {terms.count(len(frame), 'layer')} of {_networks(frame)} with {reference}, by layer.",
        f"{method} between the RDM of each layer and {reference}. {_error_words(frame)}{_band_words(result)}"
        f"{_twin_words(frame)}",
        ("Network", "Layer", *columns.values(), *(["Noise ceiling"] if bounded else [])),
        texts=2,
        rows=rows,
        note=SCORES if subjects else "",
        best=_best_sentence(result, frame, scores, ""),
    )


def _rsa_in_time(name: str, result: xr.DataArray) -> Section:
    scores, time = shown_score(result), result[TIME].values
    peaks = np.array([_argmax(one) for one in scores.values])
    heights = scores.values[np.arange(len(peaks)), peaks]
    networks, layers = result["network"].values, result["layer"].values
    best = _best_rows(networks, heights)
    rows = []
    for at, (network, layer) in enumerate(zip(networks, layers, strict=True)):
        there = {side: float(result[f"ceiling_{side}"].values[peaks[at]]) for side in ("lower", "upper")}
        cells = (terms.number(heights[at]), terms.milliseconds(time[peaks[at]]), _range(**there))
        rows.append(Row((str(network), str(layer), *cells), best=at in best))
    frame = pd.DataFrame({"network": networks, "layer": layers})
    method, reference = terms.method(result), result.attrs["reference"]
    span = f"{terms.milliseconds(time[0])} to {terms.milliseconds(time[-1])}"
    return Section(
        name,
        "Layers compared with measured RDMs, along time",
        time_curves(result),
        f"{method} of {terms.count(len(frame), 'layer')} of {_networks(frame)} with {reference}, {span}.",
        f"{method} between the RDM of each layer and {reference}, at {terms.count(len(time), 'time point')} from "
        f"{span}. Zero is no relation.{_band_words(result)}",
        ("Network", "Layer", "Peak", "Time of peak", "Noise ceiling there"),
        texts=2,
        rows=tuple(rows),
        best=_best_sentence(
            result, frame, heights, f" at {terms.milliseconds(time[peaks[_argmax(heights)]])}"
        ),
    )


def _rdm(name: str, result: xr.DataArray, categories: Mapping[str, str]) -> Section:
    ids, times = stimulus_ids(result), result.sizes[TIME]
    categories = categories or _own_categories(result)
    known = len({categories[one] for one in ids if one in categories})
    shape = f"{terms.count(len(ids), 'stimulus', 'stimuli')}, {terms.count(result.sizes[PAIR], 'pair')}"
    subjects = f", {terms.count(result.sizes[SUBJECT], 'subject')}" if SUBJECT in result.dims else ""
    when = f", {terms.count(times, 'time point')}" if times > 1 else ""
    values = result.values[np.isfinite(result.values)]
    limits = (
        f"{terms.number(values.min())} to {terms.number(values.max())}" if len(values) else "none defined"
    )
    panels = result.sizes[SUBJECT] + 1 if SUBJECT in result.dims else times
    k = cell(len(ids))
    means = f", averaged over {k} by {k} neighbours" if k > 1 else ""
    fewer = " Of all panels, an even spread is shown." if panels > MOST else ""
    order = f" Stimuli are sorted into {terms.count(known, 'category', 'categories')}." if known else ""
    return Section(
        name,
        "Representational dissimilarity",
        rdm_images(result, categories) if result.sizes[PAIR] else None,
        f"Matrix of dissimilarities between {shape}{subjects}{when}; {limits}.",
        f"{shape}{subjects}{when}. Each cell is the dissimilarity of two stimuli{means}, "
        f"{terms.metric(result)}; values are {limits}, and colours end at the 1st and 99th "
        f"percentile.{order}{fewer}",
        wide=panels > 1,
    )


def _noise_ceiling(name: str, result: xr.DataArray, _: Mapping[str, str]) -> Section:
    frame = table(result)
    bounds = [str(one) for one in frame.columns if one != TIME]
    rows = tuple(Row(_time_cell(row) + _cells(row, bounds)) for row in frame.to_dict("records"))
    columns = (*(["Time"] if TIME in frame else []), *(one.capitalize() for one in bounds))
    return Section(
        name,
        "Noise ceiling",
        None,
        "",
        f"{terms.method(result)} that any model could reach with these subjects: lower with one subject left "
        "out, upper with all.",
        columns,
        0,
        rows,
    )


def _labels(row: Mapping[Hashable, object]) -> tuple[str, str]:
    return str(row["network"]), str(row["layer"])


def _cells(row: Mapping[Hashable, float], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(terms.number(row[name]) for name in names)


def _time_cell(row: Mapping[Hashable, float]) -> tuple[str, ...]:
    return (terms.milliseconds(row[TIME]),) if TIME in row else ()


def _ceiling(row: Mapping[Hashable, float]) -> str:
    return _range(row["ceiling_lower"], row["ceiling_upper"])


def _range(lower: float, upper: float) -> str:
    if np.isnan(lower) and np.isnan(upper):
        return terms.EN_DASH
    return f"{terms.number(lower)} to {terms.number(upper)}"


def _best_rows(networks: np.ndarray, scores: np.ndarray) -> set[int]:
    """The row of the highest score of each network; none where no score is defined."""
    best = set()
    for network in dict.fromkeys(networks.tolist()):
        of_it = np.flatnonzero(networks == network)
        if np.isfinite(scores[of_it]).any():
            best.add(int(of_it[_argmax(scores[of_it])]))
    return best


def _argmax(values: np.ndarray) -> int:
    return int(np.argmax(np.where(np.isfinite(values), values, -np.inf)))


def _best_sentence(result: xr.DataArray, frame: pd.DataFrame, scores: np.ndarray, when: str) -> str:
    if not np.isfinite(scores).any():
        return ""
    at, method, reference = _argmax(scores), terms.method(result), result.attrs["reference"]
    one, ceiling = frame.iloc[at], ""
    if "ceiling_lower" in frame and np.isfinite(one["ceiling_lower"]):
        ceiling = f"; noise ceiling {_range(one['ceiling_lower'], one['ceiling_upper'])}"
    said = f"{method} {terms.number(scores[at])}{when}{ceiling}"
    return f"Closest to {reference}: {one['layer']} of {one['network']} ({said})."


def _networks(frame: pd.DataFrame) -> str:
    return terms.listed(dict.fromkeys(map(str, frame["network"])))


def _error_words(frame: pd.DataFrame) -> str:
    if frame["subject_score"].isna().all():
        return ""
    bars = "" if frame["sem"].isna().all() else ", bars their standard error"
    return f"Points are means over subjects{bars}. "


def _band_words(result: xr.DataArray) -> str:
    if not np.isfinite(result["ceiling_lower"].values).any():
        return ""
    return " The grey band is the noise ceiling, from its lower to its upper bound."


def _twin_words(frame: pd.DataFrame) -> str:
    return (
        " Dashed: the same architecture, untrained." if any(map(terms.is_untrained, frame["network"])) else ""
    )


def _own_categories(result: xr.DataArray) -> dict[str, str]:
    found: dict[str, str] = {}
    for ids, names in ((STIMULUS_A, "category_a"), (STIMULUS_B, "category_b")):
        if names in result.coords:
            found |= dict(zip(map(str, result[ids].values), map(str, result[names].values), strict=True))
    return found


SECTIONS: Final[Mapping[str, Callable[[str, xr.DataArray, Mapping[str, str]], Section]]] = MappingProxyType(
    {RSA.name: _rsa, RDM.name: _rdm, RDM_STACK.name: _rdm, CEILING.name: _noise_ceiling}
)
"""How each kind of result is shown."""
