"""Figures of the report that hold many networks, many layers and long names."""

import re
import warnings

import numpy as np
import pytest
import xarray as xr

from pipeline.report import terms
from pipeline.report.curves import _look, layer_curves, time_curves
from pipeline.report.rdms import candidate_images, rdm_images
from pipeline.report.style import styled
from stores.dims import CANDIDATE
from tests import report_results as made

TIMES = (-0.1, 0.0, 0.1, 0.2)
BLOCKS = [f"blocks.{n}" for n in range(24)]
LONG = "animate natural four legged " * 4


class Figure:
    """What an SVG says, where it says it, and the boxes of its panels as (left, top, right, bottom)."""

    def __init__(self, draw, *args):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with styled():
                svg = draw(*args)
        self.width, self.height = (
            float(one) for one in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
        )
        found = re.findall(r'<text[^>]* x="([-\d.]+)" y="([-\d.]+)"[^>]*>([^<]*)</text>', svg)
        self.said = [text for _, _, text in found]
        self.places = [(float(x), float(y)) for x, y, _ in found]
        self.panels = []
        for path in re.findall(r'-axes_\d+">\s*<g id="[^"]*">\s*<path d="([^"]*)"', svg):
            x, y = np.array(re.findall(r"[-\d.]+", path), float).reshape(-1, 2).T
            self.panels.append((x.min(), y.min(), x.max(), y.max()))

    def require_readable(self, *, width=120, height=90, bars=0):
        assert all(0 <= x <= self.width and 0 <= y <= self.height for x, y in self.places), (
            "nothing is cut off"
        )
        assert all(bottom - top > height for _, top, _, bottom in self.panels)
        assert sum(right - left <= width for left, _, right, _ in self.panels) == bars


def networks(layers, times=(0.0,)):
    parts = [made.rsa((name,), of, times) for name, of in layers.items()]
    joined = xr.concat(parts, CANDIDATE, coords="minimal", compat="override")
    return joined.assign_attrs(parts[0].attrs)


@pytest.mark.parametrize("names", [["vit"], ["vit", "vit-untrained-0"]])
def test_time_curves__a_colour_bar_stands_for_many_layers(names):
    figure = Figure(time_curves, networks(dict.fromkeys(names, BLOCKS), TIMES))
    figure.require_readable(height=150, bars=1)
    assert {"blocks.0", "blocks.12", "blocks.23", "Layer, input to output"} <= set(figure.said)
    assert sum(one.startswith("blocks.") for one in figure.said) == 7


def test_time_curves__networks_of_many_own_layers_keep_their_panels():
    of = {"vit": BLOCKS, "deep": [f"layer.{n}" for n in range(30)], "flat": ["conv", "fc"]}
    figure = Figure(time_curves, networks(of, TIMES))
    figure.require_readable(height=150, bars=2)
    assert {"blocks.0", "blocks.23", "layer.0", "layer.29", "conv", "fc"} <= set(figure.said)
    assert figure.said.count("200") == 2, "the last panel of each column names its times"


def test_curves__names_may_begin_with_an_underscore():
    of = {"_net": ["_stem", "_fc"], "net": ["_stem", "_fc"]}
    layers = Figure(time_curves, networks(of, TIMES)).said
    assert {"_stem", "_fc"} <= set(layers)
    assert {"_net", "net"} <= set(Figure(layer_curves, networks(of)).said)


def test_layer_curves__networks_of_other_layers_fill_rows():
    of = {f"net{n}": [f"layer{n}.{at}" for at in range(4)] for n in range(12)}
    figure = Figure(layer_curves, networks(of))
    figure.require_readable()
    assert len({top for _, top, _, _ in figure.panels}) == 4
    assert {layer for layers in of.values() for layer in layers} <= set(figure.said)
    assert all(figure.said.count(name) == 2 for name in of), "in the legend and above its panel"


def test_layer_curves__a_small_network_beside_a_deep_one_keeps_its_width():
    figure = Figure(layer_curves, networks({"deep": [f"layer.{n}" for n in range(200)], "flat": ["conv"]}))
    figure.require_readable()


@pytest.mark.parametrize(("layers", "named"), [(24, 24), (200, 34)])
def test_layer_curves__of_many_layers_every_kth_is_named(layers, named):
    figure = Figure(layer_curves, networks({"net": [f"blocks.{n}.norm1" for n in range(layers)]}))
    assert sum(one.startswith("blocks.") for one in figure.said) == named
    assert "blocks.0.norm1" in figure.said


def test_layer_curves__a_long_legend_does_not_eat_the_panel():
    figure = Figure(layer_curves, networks({f"net{n}": ["a", "b"] for n in range(30)}))
    figure.require_readable(height=200)
    assert len({tuple(_look(at).values()) for at in range(60)}) == 60


def test_curves__long_names_are_shortened():
    named = networks({"n" * 200: ["l" * 200, "b"], "m" * 200: ["c", "d"]}, TIMES)
    figure = Figure(time_curves, named)
    figure.require_readable(height=150)
    assert max(map(len, figure.said)) < 40
    Figure(layer_curves, named.isel(time=[0])).require_readable()
    assert terms.short("encoder.layers.11.attention.output", 20) == "encoder.layer…output"
    assert terms.short("conv1", 5) == "conv1"


@pytest.mark.parametrize("draw", [rdm_images, candidate_images])
def test_squares__long_categories_are_shortened(draw):
    rdms = made.rdm(12, subjects=3) if draw is rdm_images else made.candidates()
    kinds = {one: f"{LONG}{at % 3}" for at, one in enumerate(made.stimuli(12))}
    figure = Figure(draw, rdms, kinds)
    figure.require_readable(width=80, height=60, bars=int(draw is rdm_images))
    assert {terms.short(kind, 24) for kind in kinds.values()} <= set(figure.said)


def test_figures__a_script_that_the_font_lacks_is_no_warning():
    said = Figure(layer_curves, networks({"网络": ["层一", "层二😀"]})).said
    assert {"网络", "层一", "层二😀"} <= set(said)
