from typing import ClassVar

import h5py
import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.it_cshl import read
from stores.readers.spikes import Trials, bin_edges, counts
from tests.layouts import it_cshl as layout
from tests.test_readers import ReaderTests


class TestItCshl(ReaderTests):
    name = "it_cshl"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"spikes": "spikes"}


@pytest.mark.parametrize("options", [{}, {"column": False}, {"struct_array": True}])
def test_it_cshl__every_trial_is_at_its_place_in_all_nestings(tmp_path, options):
    cube = read(layout.write(tmp_path, **options))["spikes"].compute()
    assert cube.shape == (4, 3, 7, 5)
    assert list(cube[UNIT].values) == ["u11", "u12", "u14"]
    for u, shown in enumerate(layout.REPEATS):
        for c, count in enumerate(shown):
            for r in range(5):
                got = cube.values[c, u, :, r]
                if r >= count:
                    assert np.isnan(got).all()
                    continue
                times = layout.train(u, c, r)
                want = np.zeros(7)
                want[0] = (times == -0.05).sum()
                want[3] = ((times >= 0.1) & (times < 0.15)).sum()
                np.testing.assert_array_equal(got, want)
    outside = sum(0.3 in layout.train(u, c, r) for u, one in enumerate(layout.REPEATS)
                  for c, n in enumerate(one) for r in range(n))  # fmt: skip
    assert cube.attrs["dropped"]["spikes outside -0.05 to 0.3 s"] == outside > 0


def test_it_cshl__says_who_when_and_what_it_left(tmp_path):
    cube = read(layout.write(tmp_path))["spikes"]
    assert (cube.attrs["subject"], cube.attrs["session"]) == ("coco", "fixshortvid1")
    assert list(cube[STIMULUS].values) == layout.CLIPS
    assert {"field L2_str.fields", "field L2_str.itempos"} <= set(cube.attrs["dropped"])
    np.testing.assert_allclose(cube[TIME], np.arange(-0.025, 0.3, 0.05))


def test_it_cshl__one_clip_per_unit_is_not_taken_for_its_repeats(tmp_path):
    trains = [[[np.array([0.1, 0.11]), np.array([0.2])]], [[np.array([0.01]), np.empty(0)]]]
    for column in (True, False):
        cube = read(layout.write(tmp_path, column=column, trains=trains, names=False))["spikes"]
        assert dict(cube.sizes) == {STIMULUS: 1, UNIT: 2, TIME: 7, REPEAT: 2}
        np.testing.assert_array_equal(cube.sum(TIME).values[0], [[2, 1], [1, 0]])


@pytest.mark.parametrize(
    ("train", "why"),
    [(np.array([0.1, np.inf]), "finite"), (np.array([np.nan]), "finite"), ("text", "finite")],
)
def test_it_cshl__refuses_what_is_no_spike_time(tmp_path, train, why):
    trains = layout.nest()
    trains[1][2][0] = train
    with pytest.raises(InputError, match=rf"spikes\{{2\}}\{{3\}}\{{1\}} .*{why}"):
        read(layout.write(tmp_path, trains=trains))


def test_it_cshl__refuses_names_of_another_count(tmp_path):
    with pytest.raises(InputError, match="has 4 of them; spikes has 1"):
        read(layout.write(tmp_path, trains=[[[np.array([0.1])]]] * 3))


def test_counts__silent_trials_leave_the_rate_unbiased():
    """At 0.2 spikes a trial, leaving silent trials out would give 5.5 times the rate."""
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.2, 20_000)
    trains = [rng.uniform(0, 0.1, n) for n in spikes]
    trials = Trials.of(trains, [0] * 20_000, [0] * 20_000, range(20_000))
    found = counts(trials, bin_edges(0, 0.1, 0.1), (1, 1, 20_000))
    assert found.mean() == pytest.approx(spikes.mean(), abs=1e-6)
    assert found.mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(counts(trials, bin_edges(0, 0.1, 0.1), (1, 1, 20_000), rate=True), found * 10)


@pytest.mark.parametrize("width", [0.001, 0.01, 0.05, 0.07, 0.175, 0.35])
def test_counts__keep_every_spike_at_any_width(width):
    rng = np.random.default_rng(3)
    trains = [np.round(rng.uniform(-0.05, 0.3, n), 3) % 0.35 for n in rng.integers(0, 30, 60)]
    places = np.arange(60)
    trials = Trials.of(trains, places % 4, places % 3, places // 12)
    found = counts(trials, bin_edges(0, 0.35, width), (4, 3, 5))
    assert np.nansum(found) == sum(map(len, trains))
    for n, times in enumerate(trains):
        assert found[n % 4, n % 3, :, n // 12].sum() == len(times)


def test_bins__are_half_open_on_a_grid_that_floats_cannot_blur():
    trials = Trials.of([np.array([0.1, 0.15, 0.3 - 0.15, 0.3])], [0], [0], [0])
    found = counts(trials, bin_edges(-0.05, 0.3, 0.05), (1, 1, 1)).ravel()
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 2, 0, 0])


@pytest.mark.parametrize("bins", [(0, 0.3, 0.07), (0, 0.3, 0), (0.3, 0, 0.1), (0, np.inf, 0.1), (0, 0.1, 1)])
def test_bins__refuse_a_window_that_they_do_not_fill(bins):
    with pytest.raises(ValueError, match="wanted"):
        bin_edges(*bins)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_names__that_are_no_numbers_are_refused(tmp_path, odd):
    with h5py.File(layout.write(tmp_path) / layout.NAME, "r+") as file:
        file["L2_str/neuron_id"][0] = odd
    with pytest.raises(InputError, match=f"a field with names holds {odd}") as caught:
        read(tmp_path)
    assert layout.NAME in str(caught.value)


def test_counts__leave_out_absurd_times():
    trials = Trials.of([np.array([0.01, 1e305])], [0], [0], [0])
    assert counts(trials, bin_edges(0, 0.1, 0.1), (1, 1, 1)).ravel() == [1]
