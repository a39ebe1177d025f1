"""One result, one section: its figure, what the figure shows, and its table."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.errors import VerbError
from pipeline.report import terms
from pipeline.report.curves import layer_curves, shown_score, time_curves
from pipeline.report.parts import Row, Section
from pipeline.report.rdm_sections import candidates, rdm
from pipeline.report.tables import in_order, table
from stores.dims import TIME
from stores.specs import CEILING, RDM, RDM_CANDIDATES, RDM_STACK, RSA

SCORES: Final = (
    "Score: with the mean of the measured RDMs. Mean over subjects: with each subject's RDM, then averaged"
)
ALONE: Final = "Of a single subject neither a standard error nor a noise ceiling is defined."


def section(name: str, result: xr.DataArray, categories: Mapping[str, str]) -> Section:
    """The section of `result`, computed where it is lazy, as far as it is shown."""
    return SECTIONS[str(result.attrs["modality"])](name, in_order(result), categories)


def shows(modality: object) -> bool:
    """Whether the report can show a result of this modality."""
    return modality in SECTIONS


def require_shown(name: str, result: xr.DataArray) -> None:
    """Raise VerbError unless the report can show `result`."""
    if not shows(modality := result.attrs.get("modality")):
        raise VerbError(
            f"the report shows {', '.join(SECTIONS)}; {name!r} is {modality!r}. Leave it out of the results: "
            "`neurocube show` tells what it holds"
        )


def _rsa(name: str, result: xr.DataArray, _: Mapping[str, str]) -> Section:
    result = result.compute()
    return _rsa_in_time(name, result) if result.sizes[TIME] > 1 else _rsa_by_layer(name, result)


def _rsa_by_layer(name: str, result: xr.DataArray) -> Section:
    frame = table(result)
    scores = shown_score(result).isel({TIME: 0}).values
    several = bool(np.isfinite(frame["sem"]).any())
    columns = {"score": "Score"} | (
        {"subject_score": "Mean over subjects", "sem": "± SEM"} if several else {}
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
        note=_scores_note(bounded) if several else _alone(result),
        best=_best_sentence(result, frame, scores, ""),
    )


def _rsa_in_time(name: str, result: xr.DataArray) -> Section:
    scores, time = shown_score(result), result[TIME].values
    peaks = np.array([_argmax(one) for one in scores.values])
    heights = scores.values[np.arange(len(peaks)), peaks]
    networks, layers = result["network"].values, result["layer"].values
    best, bounded = _best_rows(networks, heights), bool(np.isfinite(result["ceiling_lower"]).any())
    rows = []
    for at, (network, layer) in enumerate(zip(networks, layers, strict=True)):
        there = {side: float(result[f"ceiling_{side}"].values[peaks[at]]) for side in ("lower", "upper")}
        cells = (terms.number(heights[at]), terms.milliseconds(time[peaks[at]]))
        bounds = (_range(**there),) if bounded else ()
        rows.append(Row((str(network), str(layer), *cells, *bounds), best=at in best))
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
        ("Network", "Layer", "Peak", "Time of peak", *(["Noise ceiling there"] if bounded else [])),
        texts=2,
        rows=tuple(rows),
        note=_alone(result),
        best=_best_sentence(
            result, frame, heights, f" at {terms.milliseconds(time[peaks[_argmax(heights)]])}"
        ),
    )


def _noise_ceiling(name: str, result: xr.DataArray, _: Mapping[str, str]) -> Section:
    frame = table(result)
    bounds = [str(one) for one in frame.columns if one != TIME]
    rows = tuple(Row(_time_cell(row) + _cells(row, bounds)) for row in frame.to_dict("records"))
    columns = (*(["Time"] if TIME in frame else []), *(one.capitalize() for one in bounds))
    gone = " None is defined: that takes two subjects." if frame[bounds].isna().all(axis=None) else ""
    return Section(
        name,
        "Noise ceiling",
        None,
        "",
        f"{terms.method(result)} that any model could reach with these subjects: lower with one subject left "
        f"out, upper with all.{gone}",
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
    return "" if frame["sem"].isna().all() else "Points are means over subjects, bars their standard error. "


def _scores_note(bounded: bool) -> str:
    return f"{SCORES}; the noise ceiling bounds this one." if bounded else f"{SCORES}."


def _alone(result: xr.DataArray) -> str:
    """Why a single subject's scores have no error; several subjects always have one."""
    alone = result["subject_score"].notnull().any() and result["sem"].isnull().all()
    return ALONE if alone else ""


def _band_words(result: xr.DataArray) -> str:
    if not np.isfinite(result["ceiling_lower"].values).any():
        return ""
    return " The grey band is the noise ceiling, from its lower to its upper bound."


def _twin_words(frame: pd.DataFrame) -> str:
    untrained = set(filter(terms.is_untrained, frame["network"]))
    twins = {terms.trained_name(one) for one in untrained} & set(frame["network"])
    if twins:
        return " Dashed: the same architecture, untrained."
    return " Dashed: untrained." if untrained else ""


SECTIONS: Final[Mapping[str, Callable[[str, xr.DataArray, Mapping[str, str]], Section]]] = MappingProxyType(
    {
        RSA.name: _rsa,
        RDM.name: rdm,
        RDM_STACK.name: rdm,
        RDM_CANDIDATES.name: candidates,
        CEILING.name: _noise_ceiling,
    }
)
"""How each kind of result is shown."""
