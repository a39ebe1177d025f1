"""Bins, rates and PSTHs of spikes: counts stay whole numbers, silence is zero, absence is NaN."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from pipeline.errors import VerbError
from pipeline.preprocess import presented, psth, rates, rebin
from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.readers.raster import read
from stores.readers.spikes import Trials, bin_edges, binned, counts
from tests.shared import shared

REAL = "data/macaque-it-zhang-desimone/Zhang_Desimone_7objects_raster_data"
TOTAL = 603_003
SIZES = {"stimuli": 5, "units": 4, "repeats": 3}


def trials(seed=0, per_trial=6.0):
    """Spikes from -0.1 to 0.5 s; unit 1 never fires, unit 2 saw stimulus 3 never and others raggedly."""
    rng = np.random.default_rng(seed)
    trains, places = [], []
    for unit in range(SIZES["units"]):
        for stimulus in range(SIZES["stimuli"]):
            shown = SIZES["repeats"] if unit != 2 else (stimulus + 1) % 4
            for repeat in range(shown):
                size = 0 if unit == 1 else rng.poisson(per_trial)
                trains.append(np.sort(rng.uniform(-0.1, 0.5, size)))
                places.append((stimulus, unit, repeat))
    return Trials.of(trains, *zip(*places, strict=True)), trains, places


@pytest.fixture
def cube(tmp_path):
    return cube_of(tmp_path)


def cube_of(tmp_path, width=0.01, rate=False):
    (tmp_path / "source").write_text("spikes")
    return binned(
        trials()[0],
        stimuli=[f"s{n}" for n in range(SIZES["stimuli"])],
        units=[f"u{n}" for n in range(SIZES["units"])],
        start=-0.1,
        stop=0.5,
        width=width,
        rate=rate,
        sources=[tmp_path / "source"],
        attrs={"dataset": "made up", "subject": "none"},
        coords={"region": (UNIT, ["V1", "V1", "IT", "IT"])},
    )


@given(
    seed=st.integers(0, 10**6),
    bins=st.integers(1, 40),
    width=st.floats(1e-3, 0.2).map(lambda one: round(one, 4)),
    start=st.floats(-0.2, 0.2).map(lambda one: round(one, 3)),
)
@settings(max_examples=40)
def test_counts__of_bins_of_any_width_are_those_of_a_plain_loop(seed, bins, width, start):
    spikes, trains, places = trials(seed)
    edges = bin_edges(start, start + bins * width, width)
    found = counts(spikes, edges, (5, 4, 3))
    inside = 0
    for train, (stimulus, unit, repeat) in zip(trains, places, strict=True):
        wanted = [
            ((np.round(train, 9) >= a) & (np.round(train, 9) < b)).sum() for a, b in itertools.pairwise(edges)
        ]
        np.testing.assert_array_equal(found[stimulus, unit, :, repeat], wanted)
        inside += sum(wanted)
    assert np.nansum(found, dtype=float) == inside
    assert np.isnan(found[3, 2]).all()  # four modulo four: never shown


def test_silent_trials_are_zeros_and_absent_ones_nan(cube):
    values = cube.values
    assert (values[:, 1] == 0).all()
    np.testing.assert_array_equal(np.isfinite(values[:, 2]).all(1).sum(1), [1, 2, 3, 0, 1])
    np.testing.assert_array_equal(
        presented(cube), [[3, 3, 1, 3], [3, 3, 2, 3], [3, 3, 3, 3], [3, 3, 0, 3], [3, 3, 1, 3]]
    )


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 6, 12, 60])
def test_rebin__equals_binning_the_spikes_anew(tmp_path, cube, factor):
    found, wanted = rebin(cube, factor * 0.01), cube_of(tmp_path, factor * 0.01)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found[TIME], wanted[TIME])
    assert found.attrs["bin_width"] == pytest.approx(factor * 0.01)
    assert np.nansum(found, dtype=float) == np.nansum(cube, dtype=float)
    assert list(found.region.values) == ["V1", "V1", "IT", "IT"]
    stores.validate(found)


def test_rebin__of_whole_numbers_neither_overflows_nor_turns_to_fractions(cube):
    small = cube.fillna(0).astype("u1") + np.uint8(200)
    found = rebin(small.assign_attrs(cube.attrs), 0.6)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.sum(), small.astype(int).sum())


def test_rebin__of_rates_averages(tmp_path, cube):
    found = rebin(rates(cube), 0.05)
    np.testing.assert_allclose(found, cube_of(tmp_path, 0.05, rate=True), rtol=1e-6)
    assert found.attrs["units"] == "spikes/s"


@pytest.mark.parametrize("width", [0.015, 0.04 * 1.75, 0.005, 0.0, -0.02, np.nan, np.inf, 1.2])
def test_rebin__refuses_bins_that_do_not_fit_and_offers_those_that_do(cube, width):
    with pytest.raises(
        VerbError, match=r"60 bins of 0.01 s .* these widths fit: 0.01, 0.02, 0.03, 0.04, 0.05,"
    ):
        rebin(cube, width)


def test_rates__times_width_are_the_counts(tmp_path, cube):
    found = rates(cube)
    np.testing.assert_allclose(found * 0.01, cube, rtol=1e-6)
    np.testing.assert_allclose(found, cube_of(tmp_path, rate=True), rtol=1e-6)
    assert (found.attrs["units"], found.attrs["quantity"]) == ("spikes/s", "firing rate")
    assert rates(found) is found
    stores.validate(found)


def test_psth__is_the_mean_over_the_trials_there_were(cube):
    found, values = psth(cube), cube.values.astype(float)
    assert found.shape == (5, 4, 60, 1)
    for stimulus in range(5):
        for unit in range(4):
            there = [one for one in values[stimulus, unit].T if np.isfinite(one).all()]
            wanted = np.mean(there, axis=0) / 0.01 if there else np.full(60, np.nan)
            np.testing.assert_allclose(found.values[stimulus, unit, :, 0], wanted, rtol=1e-12)
    assert (found.values[:, 1] == 0).all()
    total = (found.isel({REPEAT: 0}) * presented(cube) * 0.01).sum()
    assert float(total) == pytest.approx(float(cube.sum()), rel=1e-12)
    assert found.attrs["units"] == "spikes/s"
    stores.validate(found)


def test_psth__drops_labels_of_trials_and_says_so(cube):
    labelled = cube.assign_coords(run=(REPEAT, [1, 2, 3]), trial=((STIMULUS, REPEAT), np.zeros((5, 3), int)))
    found = psth(labelled)
    assert not {"run", "trial"} & set(found.coords)
    assert found.attrs["dropped"]["label run, which is of single trials"] == 1
    assert "label trial, which is of single trials" in found.attrs["dropped"]
    assert set(rebin(labelled, 0.02).coords) >= {"run", "trial"}


@pytest.mark.parametrize("verb", [rates, psth, presented, lambda cube: rebin(cube, 0.05)])
def test_verbs__are_lazy_and_ignore_chunks(cube, verb, computing_forbidden):
    chunked = cube.compute().chunk({STIMULUS: 2, UNIT: 3, TIME: 7, REPEAT: 2})
    with computing_forbidden():
        found = verb(chunked)
    xr.testing.assert_identical(found.compute(), verb(cube).compute())


@pytest.mark.parametrize("verb", [rates, psth, presented, lambda cube: rebin(cube, 0.05)])
def test_verbs__refuse_what_is_not_spikes(cube, verb):
    with pytest.raises(stores.SchemaError, match="wanted a cube of spikes"):
        verb(stores.simulate("mua", stimuli=3))
    with pytest.raises(stores.SchemaError, match="wanted a cube of spikes"):
        verb(cube.isel({TIME: 0}))
    with pytest.raises(stores.SchemaError, match=r"attrs\['units'\] is 'kHz'"):
        verb(cube.assign_attrs(units="kHz"))
    with pytest.raises(VerbError, match=r"bins are 0\.01 s wide, but their centres lie 0\.02"):
        verb(cube.isel({TIME: slice(None, None, 2)}))
    bare = {name: value for name, value in cube.attrs.items() if name != "bin_width"}
    with pytest.raises(VerbError, match="the width of the one bin is unknown"):
        verb(cube.isel({TIME: [0]}).drop_attrs().assign_attrs(bare))


def test_psth__refuses_rates(cube):
    with pytest.raises(VerbError, match="a PSTH is made of counts; the cube's units are 'spikes/s'"):
        psth(rates(cube))


def test_real_neurons__keep_every_spike_in_any_bins():
    fine = read(shared(REAL), width=0.01)["spikes"]
    assert int(np.nansum(fine, dtype=float)) == TOTAL
    for width in (0.02, 0.05, 0.1, 1.0):
        wide = rebin(fine, width)
        assert int(np.nansum(wide, dtype=float)) == TOTAL
    np.testing.assert_array_equal(rebin(fine, 0.05), read(shared(REAL), width=0.05)["spikes"])
    told = psth(rebin(fine, 1.0)).isel({TIME: 0, REPEAT: 0}) * presented(fine)
    assert float(told.sum()) == pytest.approx(TOTAL, rel=1e-12)
