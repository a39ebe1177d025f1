"""Scores along the layers of networks, and along time, with the ceiling they could reach."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report import terms
from pipeline.report.style import BAND, COLOURS, GREY, INCH, SEQUENCE, in_milliseconds, quiet_grid, svg
from stores.dims import CANDIDATE, TIME

LONG_LABELS = 60
"""Characters of all layer names of a panel above which they are slanted."""


def layer_curves(result: xr.DataArray) -> Markup:
    """One line per network over its layers, in network order; networks of the same layers share a panel."""
    result = result.isel({TIME: 0})
    panels = list(_panels(result))
    families = _in_order(terms.trained_name(name) for name in result["network"].values)
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(families)}
    figure = Figure(figsize=(INCH, 4.1), layout="constrained")
    widths = [len(layers) + 2 for layers, _ in panels]
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (layers, networks) in zip(grid, panels, strict=True):
        _layer_panel(axes, result, layers, networks, colours)
    grid[0].set_ylabel(f"{terms.method(result)} with {result.attrs['reference']}")
    _legend(figure, grid, "outside upper left", ncols=3)
    return svg(figure)


def time_curves(result: xr.DataArray) -> Markup:
    """One panel per network, one line per layer over time, early layers dark and late ones light."""
    networks = _in_order(result["network"].values)
    columns = min(2, len(networks))
    rows = -(-len(networks) // columns)
    figure = Figure(figsize=(INCH, 0.5 + 3.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(_panels(result))
    for axes, network in zip(grid.ravel(), networks, strict=False):
        _time_panel(axes, result.isel({CANDIDATE: result["network"].values == network}), network)
        if len(panels) > 1:
            axes.legend(
                fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), labelspacing=0.3, handlelength=1.2
            )
    for axes in grid.ravel()[len(networks) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{terms.method(result)} with {result.attrs['reference']}")
    if len(panels) == 1:
        _legend(figure, grid.ravel()[:1], "outside right upper", ncols=1)
    return svg(figure)


def shown_score(result: xr.DataArray) -> xr.DataArray:
    """What is drawn: the mean over subjects, which the ceiling bounds; without one, the plain score."""
    per_subject = result["subject_score"].reset_coords(drop=True)
    return per_subject if bool(per_subject.notnull().any()) else result


def _panels(result: xr.DataArray) -> Iterator[tuple[list[str], list[str]]]:
    """(layers, the networks that have exactly these), in the order in which they come."""
    found: dict[tuple[str, ...], list[str]] = {}
    for network in _in_order(result["network"].values):
        layers = tuple(map(str, result["layer"].values[result["network"].values == network]))
        found.setdefault(layers, []).append(network)
    for layers, networks in found.items():
        yield list(layers), networks


def _layer_panel(
    axes: Axes, result: xr.DataArray, layers: list[str], networks: list[str], colours: Mapping[str, str]
) -> None:
    x, edges = np.arange(len(layers)), np.array([-0.5, len(layers) - 0.5])
    _band(axes, edges, *(np.full(2, float(result[f"ceiling_{side}"])) for side in ("lower", "upper")))
    for network in networks:
        one = result.isel({CANDIDATE: result["network"].values == network})
        colour, twin = colours[terms.trained_name(network)], terms.is_untrained(network)
        axes.errorbar(
            x,
            shown_score(one).values,
            yerr=np.nan_to_num(one["sem"].values),
            color=colour,
            marker="o",
            markersize=5.5,
            markerfacecolor="white" if twin else colour,
            linestyle=(0, (4, 2)) if twin else "-",
            elinewidth=1,
            label=network,
        )
    _name_layers(axes, layers)
    axes.set_xlim(*edges)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    quiet_grid(axes)


def _name_layers(axes: Axes, layers: list[str]) -> None:
    slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    long = sum(map(len, layers)) > LONG_LABELS
    axes.set_xticks(np.arange(len(layers)), layers, **(slanted if long else {}))
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("Layer, input to output")


def _legend(figure: Figure, panels: Iterable[Axes], where: Any, *, ncols: int) -> None:
    """One legend beside all panels, in which nothing is named twice."""
    named: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(named.values(), named.keys(), loc=where, ncols=ncols, labelspacing=0.35, handlelength=2.4)


def _time_panel(axes: Axes, result: xr.DataArray, network: str) -> None:
    time = result[TIME].values
    _band(axes, time, _bound(result, "lower"), _bound(result, "upper"))
    colours = mpl.colormaps[SEQUENCE](np.linspace(0, 0.9, max(result.sizes[CANDIDATE], 2)))
    for values, layer, colour in zip(
        shown_score(result).values, result["layer"].values, colours, strict=False
    ):
        axes.plot(time, values, color=colour, linewidth=1.5, label=str(layer))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(time[0], time[-1])
    in_milliseconds(axes)
    quiet_grid(axes)
    axes.set_title(network)


def _bound(result: xr.DataArray, side: str) -> np.ndarray:
    return np.atleast_1d(result[f"ceiling_{side}"].values)


def _band(axes: Axes, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    if np.isfinite(lower).any():
        axes.fill_between(x, lower, upper, color=BAND, linewidth=0, label="noise ceiling")


def _in_order(names: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, names)))
