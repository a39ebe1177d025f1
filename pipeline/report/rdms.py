"""RDMs as images: the square of all pairs of stimuli, by category where categories are known."""

import itertools
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from pipeline.errors import VerbError
from pipeline.report import terms
from pipeline.report.style import FAINT, GREY, INCH, SEQUENCE, svg
from stores.dims import PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME

CELLS = 600
"""Most cells of a square each way: more do not fit a screen, and make a page of tens of megabytes."""
SMALL = 200
"""The same for the small squares of candidates."""
LEAST, ACROSS = 3, 6
"""Columns of those: with fewer, squares would be large and their names as well."""
LABEL = 24
"""Characters of a category's name beside a square; of a longer one the middle is left out."""
MOST = 8
"""Panels of one figure: of more subjects or times, this many, evenly spread."""


def rdm_images(rdms: xr.DataArray, categories: Mapping[str, str]) -> Markup:
    """One square per subject (after their mean) or time point, all on one colour scale."""
    panels = _panels(rdms)
    columns = min(len(panels), 3 if len(panels) in (3, 5, 6) else 4)
    rows = math.ceil(len(panels) / columns)
    pairs = pairs_of(rdms)
    order, blocks = ordering(pairs.ids, categories)
    names = 0.075 * max((min(len(name), LABEL) for name, _, _ in blocks), default=0)
    side = 4.2 if len(panels) == 1 else (INCH - names - 1.0) / columns - 0.1
    size = (names + columns * (side + 0.1) + 1.0, rows * (side + 0.3))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    k = cell(len(order))
    squares = [thinned(pairs.square(one, order), k) for one in panels.values()]
    limits = _limits(np.concatenate([one.ravel() for one in squares]))
    for at, (axes, title, one) in enumerate(zip(grid.ravel(), panels, squares, strict=False)):
        image = _draw(axes, one, len(order), k, limits)
        axes.set_title(terms.short(title, round(12 * side)))
        _mark(axes, blocks, named=at % columns == 0)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    bar = figure.colorbar(image, ax=grid, shrink=0.75 / rows**0.5, aspect=22, pad=0.02, extend="both")
    bar.set_label(textwrap.fill(terms.metric(rdms), round(15 * size[1])))
    bar.outline.set_visible(False)
    return svg(figure)


def candidate_images(rdms: xr.DataArray, categories: Mapping[str, str]) -> Markup:
    """One small square per candidate, each on its own colour scale; a network of several layers begins a row."""
    networks, layers = (list(map(str, rdms[name].values)) for name in ("network", "layer"))
    longest = max(map(networks.count, networks))
    if longest == 1:  # a row each would leave most of the page empty
        layers, networks = [f"{a}/{b}" for a, b in zip(networks, layers, strict=True)], [""] * len(layers)
        longest = len(layers)
    columns = max(LEAST, math.ceil(longest / math.ceil(longest / ACROSS)))
    places = _places(networks, columns)
    rows = places[-1][0] + 1
    pairs = pairs_of(rdms)
    order, blocks = ordering(pairs.ids, categories)
    k = cell(len(order), SMALL)
    side = INCH / columns
    figure = Figure(figsize=(INCH, rows * side + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in set(grid.ravel()) - {grid[place] for place in places}:
        axes.set_visible(False)
    titles = _titles(networks, layers, round(10.5 * side))
    for place, values, title in zip(places, rdms.mean(TIME).values, titles, strict=True):
        one = thinned(pairs.square(values, order), k)
        _draw(grid[place], one, len(order), k, _limits(one))
        grid[place].set_title(title, fontsize=8.5)
        _mark(grid[place], blocks, named=place[1] == 0)
    return svg(figure)


def _places(networks: list[str], columns: int) -> list[tuple[int, int]]:
    """(row, column) of each candidate: a row is full, or its network ends."""
    places = [(0, 0)]
    for before, network in itertools.pairwise(networks):
        row, column = places[-1]
        full = network != before or column + 1 == columns
        places.append((row + 1, 0) if full else (row, column + 1))
    return places


def _titles(networks: list[str], layers: list[str], width: int) -> list[str]:
    """The layers in lines of `width`; above the first of a network its name, which has the rest of the row."""
    lines = [textwrap.wrap(layer, width) for layer in layers]
    most = max(map(len, lines))
    titles = ["\n".join(one) for one in lines]
    for at, network in enumerate(networks):
        if network and network not in networks[:at]:
            titles[at] = network + "\n" * (1 + most - len(lines[at])) + titles[at]
    return titles


def cell(n: int, most: int = CELLS) -> int:
    """How many stimuli, each way, one cell of a drawn square holds, so that there are `most` at most."""
    return max(1, math.ceil(n / most))


def thinned(full: np.ndarray, k: int) -> np.ndarray:
    """(n, n) -> (ceil(n / k), ceil(n / k)): means of k x k blocks over what is defined in them, else NaN."""
    if k == 1:
        return full
    pad = -len(full) % k
    blocks = np.pad(full, (0, pad), constant_values=np.nan).reshape(-1, k, (len(full) + pad) // k, k)
    known = np.isfinite(blocks)
    count = known.sum((1, 3))
    return np.where(count, np.where(known, blocks, 0).sum((1, 3)) / np.maximum(count, 1), np.nan)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Where colours end: the 1st and 99th percentile, as one value of thousands may be anywhere."""
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = np.nanpercentile(values, [1, 99])
    return float(low), float(high)


def _draw(axes: Axes, cells: np.ndarray, n: int, k: int, limits: tuple[float, float]) -> AxesImage:
    """A square of `n` stimuli, `k` in each cell."""
    colours = mpl.colormaps[SEQUENCE].with_extremes(bad=FAINT)
    low, high = limits
    end = len(cells) * k - 0.5
    image = axes.imshow(
        cells, cmap=colours, vmin=low, vmax=high, interpolation="nearest", extent=(-0.5, end, end, -0.5)
    )
    axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    return image


@dataclass(frozen=True)
class Pairs:
    """The stimuli of an RDM, in the order in which its pairs name them, and the row and column of each pair."""

    ids: list[str]
    rows: np.ndarray
    columns: np.ndarray

    def square(self, condensed: np.ndarray, order: list[int]) -> np.ndarray:
        """(pair,) -> (n, n), symmetric, stimuli in `order`; NaN on the diagonal and where there is no pair."""
        full = np.full((len(self.ids), len(self.ids)), np.nan)
        full[self.rows, self.columns] = full[self.columns, self.rows] = condensed
        return full[np.ix_(order, order)]


def pairs_of(rdm: xr.DataArray) -> Pairs:
    """Where each pair of `rdm` belongs: its `stimulus_a` and `stimulus_b` may come in any order.

    Raises VerbError where two pairs have the same stimuli, as a square has one cell for both.
    """
    first, second = rdm[STIMULUS_A].values, rdm[STIMULUS_B].values
    places, ids = pd.factorize(np.concatenate([first, second]))
    rows, columns = places[: len(first)], places[len(first) :]
    different = len(np.unique(np.minimum(rows, columns) * len(ids) + np.maximum(rows, columns)))
    if repeated := len(first) - different:
        raise VerbError(
            f"{rdm.name!r} holds {terms.count(repeated, 'pair')} of stimuli more than once; keep one of them"
        )
    return Pairs(list(map(str, ids)), rows, columns)


def ordering(ids: list[str], categories: Mapping[str, str]) -> tuple[list[int], list[tuple[str, int, int]]]:
    """Positions of `ids` by category, and (category, first, last + 1) of each block.

    Categories come in the order in which the stimuli first show them; stimuli without one come last.
    Without any, the order is kept and there are no blocks.
    """
    names = [categories.get(one, "") for one in ids]
    if not any(names):
        return list(range(len(ids))), []
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(filter(None, names)))} | {"": len(names)}
    order = sorted(range(len(ids)), key=lambda at: (ranks[names[at]], at))
    blocks, begin = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or names[order[end]] != names[order[begin]]:
            blocks.append((names[order[begin]] or "no category", begin, end))
            begin = end
    return order, blocks


def _panels(rdms: xr.DataArray) -> dict[str, np.ndarray]:
    if rdms.sizes.get(SUBJECT) == 1:
        rdms = rdms.isel({SUBJECT: 0}, drop=True)
    if SUBJECT in rdms.dims:
        mean = rdms.mean((SUBJECT, TIME))
        each = rdms.mean(TIME)
        shown = _spread(rdms.sizes[SUBJECT], MOST - 1)
        return {"Mean of all": mean.values} | {str(rdms[SUBJECT].values[at]): each.values[at] for at in shown}
    if rdms.sizes[TIME] == 1:
        return {"": rdms.transpose(TIME, PAIR).values[0]}
    values, time = rdms.transpose(TIME, PAIR).values, rdms[TIME].values
    return {terms.milliseconds(time[at]): values[at] for at in _spread(len(time), MOST)}


def _spread(n: int, most: int) -> list[int]:
    return sorted(set(np.linspace(0, n - 1, min(n, most)).round().astype(int).tolist()))


def _mark(axes: Axes, blocks: list[tuple[str, int, int]], *, named: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for _, begin, _ in blocks[1:]:
        axes.axhline(begin - 0.5, color="white", linewidth=0.9)
        axes.axvline(begin - 0.5, color="white", linewidth=0.9)
    if named and blocks:
        middles = [(begin + end - 1) / 2 for _, begin, end in blocks]
        axes.set_yticks(middles, [terms.short(name, LABEL) for name, _, _ in blocks])
        axes.tick_params(length=0, colors=GREY)
