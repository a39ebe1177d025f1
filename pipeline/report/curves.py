"""Scores along the layers of networks, and along time, with the ceiling they could reach."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from pipeline.report import terms
from pipeline.report.style import (
    BAND,
    COLOURS,
    GREY,
    INCH,
    MARKERS,
    SEQUENCE,
    in_milliseconds,
    quiet_grid,
    svg,
)
from stores.dims import CANDIDATE, TIME

SLANTED: Final = 7
"""Characters of all layer names per inch of a panel above which they are slanted."""
TICK: Final = 0.25
"""Inches that a slanted name takes."""
LISTED: Final = 12
"""Most layers that a legend names one by one; of more, a colour bar names a few."""
ON_BAR: Final = 7
"""Layers named at a colour bar."""

Named = Mapping[str, Any]
"""What a legend names: Matplotlib's own labels lose names that begin with an underscore."""


def layer_curves(result: xr.DataArray) -> Markup:
    """One line per network over its layers, in network order; networks of the same layers share a panel."""
    result = result.isel({TIME: 0})
    panels = list(_panels(result))
    families = _in_order(terms.trained_name(name) for name in result["network"].values)
    looks = {name: _look(at) for at, name in enumerate(families)}
    columns = len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3
    rows = -(-len(panels) // columns)
    lengths = np.array([len(layers) for layers, _ in panels])
    shares = np.maximum(lengths, lengths.max() / 3) + 2 if rows == 1 else np.ones(columns)
    widths = (INCH - 0.7) * shares / shares.sum()
    entries = -(-(1 + sum(len(networks) for _, networks in panels)) // 3)
    figure = Figure(
        figsize=(INCH, (4.1 if rows == 1 else 3.0 * rows) + 0.2 * max(0, entries - 2)), layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False, width_ratios=list(shares))
    named: dict[str, Any] = {}
    for at, (axes, (layers, networks)) in enumerate(zip(grid.ravel(), panels, strict=False)):
        width = widths[at % columns]
        named |= _layer_panel(axes, result, layers, networks, looks, width)
        of = _in_order(map(terms.trained_name, networks))
        if rows > 1 and len(of) == 1:
            axes.set_title(terms.short(of[0], round(11 * width)))
    _finish(grid, len(panels), result)
    _legend(figure, named, loc="outside upper left", ncols=3)
    return svg(figure)


def time_curves(result: xr.DataArray) -> Markup:
    """One panel per network, one line per layer over time, early layers dark and late ones light."""
    networks = _in_order(result["network"].values)
    columns = min(2, len(networks))
    rows = -(-len(networks) // columns)
    figure = Figure(figsize=(INCH, 0.5 + 3.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    shared = len(list(_panels(result))) == 1
    for axes, network in zip(grid.ravel(), networks, strict=False):
        one = result.isel({CANDIDATE: result["network"].values == network})
        layers = list(map(str, one["layer"].values))
        named = _time_panel(axes, one, layers)
        axes.set_title(terms.short(network, (80 if shared else 50) // columns))
        if not shared:
            _time_key(figure, [axes], layers, named, own=True)
    _finish(grid, len(networks), result)
    if shared:
        _time_key(figure, list(grid.ravel()[: len(networks)]), layers, named, own=False)
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


def _look(at: int) -> dict[str, Any]:
    """Colour and marker of the network at place `at`: colours first, as they are told apart best."""
    return {
        "color": COLOURS[at % len(COLOURS)],
        "marker": MARKERS[at // len(COLOURS) % len(MARKERS)],
    }


def _layer_panel(
    axes: Axes,
    result: xr.DataArray,
    layers: list[str],
    networks: list[str],
    looks: Mapping[str, dict[str, Any]],
    width: float,
) -> Named:
    """A panel of `width` inches."""
    x, edges = np.arange(len(layers)), np.array([-0.5, len(layers) - 0.5])
    bounds = (np.full(2, float(result[f"ceiling_{side}"])) for side in ("lower", "upper"))
    named = _band(axes, edges, *bounds)
    for network in networks:
        one = result.isel({CANDIDATE: result["network"].values == network})
        look, twin = looks[terms.trained_name(network)], terms.is_untrained(network)
        named[network] = axes.errorbar(
            x,
            shown_score(one).values,
            yerr=np.nan_to_num(one["sem"].values),
            **look,
            markersize=min(5.5, 72 * width / len(layers)),
            markerfacecolor="white" if twin else look["color"],
            linestyle=(0, (4, 2)) if twin else "-",
            elinewidth=1,
        )
    _name_layers(axes, layers, width)
    axes.set_xlim(*edges)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    quiet_grid(axes)
    return named


def _name_layers(axes: Axes, layers: list[str], width: float) -> None:
    """Name layers below a panel of `width` inches: every one, or every k-th where more do not fit."""
    slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    step = math.ceil(len(layers) * TICK / width)
    names = [terms.short(layer, min(28, round(7 * width))) for layer in layers[::step]]
    long = sum(map(len, names)) > SLANTED * width
    axes.set_xticks(np.arange(0, len(layers), step), names, **(slanted if long else {}))
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("Layer, input to output")


def _finish(grid: np.ndarray, panels: int, result: xr.DataArray) -> None:
    """Hide what is beyond the last panel, and say what the rows show."""
    for at in range(panels, grid.size):
        grid.ravel()[at].set_visible(False)
        grid.ravel()[at - grid.shape[1]].tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{terms.method(result)} with {result.attrs['reference']}")


def _legend(beside: Figure | Axes, named: Named, **where: Any) -> None:
    options = {"labelspacing": 0.35, "handlelength": 2.4} | where
    beside.legend(list(named.values()), list(map(terms.short, named)), **options)


def _time_panel(axes: Axes, result: xr.DataArray, layers: list[str]) -> Named:
    time = result[TIME].values
    named = _band(axes, time, _bound(result, "lower"), _bound(result, "upper"))
    for values, layer, colour in zip(shown_score(result).values, layers, _shades(len(layers)), strict=True):
        (named[layer],) = axes.plot(time, values, color=colour, linewidth=1.5)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(time[0], time[-1])
    in_milliseconds(axes)
    quiet_grid(axes)
    return named


def _time_key(figure: Figure, panels: list[Axes], layers: list[str], named: Named, *, own: bool) -> None:
    """Which colour is which layer, beside `panels`; smaller where a panel has its own."""
    if len(layers) > LISTED:
        _bar(figure, panels, layers)
    elif own:
        _legend(panels[0], named, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), handlelength=1.2)
    else:
        _legend(figure, named, loc="outside right upper")


def _bar(figure: Figure, panels: list[Axes], layers: list[str]) -> None:
    n = len(layers)
    colours = ScalarMappable(Normalize(-0.5, n - 0.5), ListedColormap(_shades(n)))
    bar = figure.colorbar(
        colours, ax=panels, pad=0.02, aspect=24, shrink=min(1, 2 / len(panels)), anchor=(0, 1)
    )
    at = sorted(set(np.linspace(0, n - 1, ON_BAR).round().astype(int).tolist()))
    bar.set_ticks(at, labels=[terms.short(layers[one], 24) for one in at], fontsize=8)
    bar.ax.invert_yaxis()
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label("Layer, input to output")


def _shades(n: int) -> np.ndarray:
    """(n, 4): early layers dark and late ones light."""
    return mpl.colormaps[SEQUENCE](np.linspace(0, 0.9, max(n, 2)))[:n]


def _bound(result: xr.DataArray, side: str) -> np.ndarray:
    return np.atleast_1d(result[f"ceiling_{side}"].values)


def _band(axes: Axes, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(lower).any():
        return {}
    return {"noise ceiling": axes.fill_between(x, lower, upper, color=BAND, linewidth=0)}


def _in_order(names: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, names)))
