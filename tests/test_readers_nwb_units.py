from functools import partial
from itertools import pairwise
from typing import ClassVar

import h5py
import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import nwb_units
from stores.readers.lazy import lazy
from stores.readers.nwb_units import around, read
from tests.layouts import nwb_units as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

TOTAL = sum(len(layout.spikes(unit)) for unit in range(layout.UNITS))
STEMS = ["dog_01b", "sets/cat", "bat1"]


class TestNwbUnits(ReaderTests):
    name = "nwb_units"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = dict.fromkeys(("trials", "scenes_presentations", "flashes"), "spikes")


@pytest.fixture
def folder(tmp_path):
    return layout.write(tmp_path)


@pytest.fixture
def spoil(folder):
    """The file, open to be spoilt."""

    def opened():
        return h5py.File(folder / "sub-01_ses-2.nwb", "a")

    return opened


def unseen(unit, onset):
    return unit == 3 and onset - 0.05 < layout.OBSERVED - 1e-9


def test_nwb__every_count_is_at_its_unit_image_repeat_and_bin(folder):
    cube = read(folder)["trials"]
    assert cube.chunks is not None
    assert cube.shape == (3, 5, 7, 4)
    np.testing.assert_array_equal(cube[TIME], np.round(-0.025 + 0.05 * np.arange(7), 9))
    values = cube.values
    missing = 0
    shown = {(i, r): onset for i, r, onset in layout.schedule()}
    for image, stem in enumerate(STEMS):
        row = list(cube[STIMULUS].values).index(stem)
        for unit in range(5):
            for repeat in range(4):
                got = values[row, unit, :, repeat]
                if (image, repeat) not in shown or unseen(unit, shown[image, repeat]):
                    assert np.isnan(got).all()
                    missing += (image, repeat) in shown
                else:
                    want = [layout.count(unit, image, repeat, step) for step in range(7)]
                    np.testing.assert_array_equal(got, want)
    assert 0 < missing < 8
    assert (values[:, 1][~np.isnan(values[:, 1])] == 0).all()
    assert list(cube[UNIT].values) == [f"u{one}" for one in layout.IDS]


@pytest.mark.parametrize(
    ("start", "stop", "width"), [(-0.05, 0.3, 0.35), (0.0, 0.3, 0.1), (0.05, 0.25, 0.025)]
)
def test_nwb__bins_of_any_width_keep_the_spikes(folder, start, stop, width):
    fine, wide = read(folder)["trials"], read(folder, start=start, stop=stop, width=width)["trials"]
    inside = fine.sel({TIME: slice(start, stop)}).sum(TIME, skipna=False)
    whole = wide.sum(TIME, skipna=False)
    np.testing.assert_array_equal(inside, whole.where(inside.notnull()))
    # The trial in which unit 3 starts to be recorded is whole in windows from onset.
    assert int((whole.notnull() & inside.isnull()).sum()) == (start >= 0)
    rates = read(folder, start=start, stop=stop, width=width, rate=True)["trials"]
    np.testing.assert_allclose(rates, wide / width, rtol=1e-6)
    assert (rates.attrs["units"], wide.attrs["units"]) == ("spikes/s", "spikes")


def test_nwb__long_windows_overlap_and_share_spikes():
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    found, sizes = around(times, np.array([1.0, 0.5, 9.0]), np.array([-0.5, 0.0, 0.5]))
    assert sizes.tolist() == [3, 3, 0]
    assert found.tolist() == [-0.5, 0.0, 0.5] * 2


@pytest.mark.parametrize("step", [1, 2, 5])
def test_nwb__blocks_of_any_size_hold_the_same(folder, monkeypatch, step):
    read_as = []
    monkeypatch.setattr(
        nwb_units, "lazy", lambda read, *rest, **more: read_as.append(read) or lazy(read, *rest, **more)
    )
    whole = read(folder, table="trials")["trials"].values
    for start in range(0, 5, step):
        units = slice(start, min(5, start + step))
        got = read_as[0]((slice(1, 3), units, slice(2, 5), slice(1, 4)))
        np.testing.assert_array_equal(got, whole[1:3, units, 2:5, 1:4])


def test_nwb__facts_travel(folder):
    cube = read(folder)["trials"]
    assert list(cube["quality"].values) == ["good", "mua", "good", "mua", "good"]
    assert list(cube["unit_session"].values) == ["a"] * 5
    assert list(cube["depth"].values) == ["deep", "superficial", "superficial", "deep", "deep"]
    np.testing.assert_array_equal(cube["snr"], np.arange(5) / 4)
    assert list(cube["electrodes"].values) == ["100", "105 101", "", "101", "105"]
    assert list(cube["region"].values) == ["V4", "IT", "", "IT", "IT"]
    np.testing.assert_array_equal(cube["x"], [1, 4, np.nan, 3, 5])
    np.testing.assert_array_equal(cube["y"], [0.5, 0.5, np.nan, 0.5, 0.5])
    assert list(cube["spikes_in_file"].values) == [len(layout.spikes(unit)) for unit in range(5)]
    for image, repeat, onset in layout.schedule():
        at = cube.sel({STIMULUS: STEMS[image], REPEAT: repeat})
        assert at["trial_start_time"].item() == onset
        assert at["trial_size"].item() == 10 * image
        assert at["trial_correct"].item() == (repeat % 2 == 0)
        assert at["trial_block"].item() == f"b{repeat % 2}"
    assert cube["event_image_name"].values.tolist() == ["bat1.png", "dog_01b.jpg", "sets\\cat.png"]
    assert cube.attrs["subject"] == "Nilson"
    assert cube.attrs["session"] == "sub-01_ses-2"
    assert cube.attrs["dropped"] == {
        "column waveform_mean of units": 1,
        "table intervals/epochs, without stimuli": 1,
        "presentations without a stimulus or an onset": 2,
    }


def test_nwb__numbers_and_series_of_indices_name_stimuli(folder):
    found = read(folder)
    scenes, flashes = found["scenes_presentations"], found["flashes"]
    assert list(scenes[STIMULUS].values) == ["frame_-1", "frame_7"]
    np.testing.assert_array_equal(scenes["trial_start_time"], [[3.5, np.nan], [2.5, 4.5]])
    assert scenes.attrs["dropped"]["column tags of /intervals/scenes_presentations/frame"] == 1
    assert list(flashes[STIMULUS].values) == ["ant", "zebra"]
    np.testing.assert_array_equal(flashes["trial_start_time"], [[2.625, 7.625], [5.625, np.nan]])
    for cube in (scenes, flashes):
        for row, repeat in zip(*np.nonzero(cube["trial_start_time"].notnull().values), strict=True):
            onset = float(cube["trial_start_time"][row, repeat])
            for unit in (0, 1, 2, 4):
                times = np.round(layout.spikes(unit) - onset, 9)
                want = np.histogram(times[times < layout.EDGES[-1]], layout.EDGES)[0]
                np.testing.assert_array_equal(cube.values[row, unit, :, repeat], want)


def test_nwb__a_table_and_its_columns_may_be_asked_for(folder):
    found = read(folder, table="trials", stimulus="block", onset="stop_time")
    assert list(found) == ["trials"]
    assert list(found["trials"][STIMULUS].values) == ["b0", "b1", "b9"]
    with pytest.raises(
        InputError, match=r"has no table epochs with the columns start_time and one of image_name"
    ):
        read(folder, table="epochs")
    with pytest.raises(InputError, match=r"intervals/trials: .*image_name"):
        read(folder, stimulus="picture")
    with pytest.raises(InputError, match="wanted a whole number"):
        read(folder, width=0.04)


def test_nwb__spikes_may_be_in_any_order_and_bare_units_do(folder, spoil):
    want = read(folder)["trials"].compute()
    with spoil() as file:
        for name in ("electrodes", "electrodes_index", "obs_intervals", "obs_intervals_index"):
            del file[f"units/{name}"]
        first = np.concatenate([[0], file["units/spike_times_index"][()]]).astype(int)
        times = file["units/spike_times"]
        for low, high in pairwise(first):
            times[low:high] = times[low:high][::-1]
    got = read(folder)["trials"]
    np.testing.assert_array_equal(got.fillna(-1).where(want.notnull()), want)
    assert not {"region", "x", "electrodes"} & set(got.coords)
    assert int(got.isnull().sum()) == 4 * 5 * 7  # the repeats that two images lack
    with spoil() as file:
        file["units/electrodes"] = np.array([0, 1, 2, 0, 1])
    assert list(read(folder)["trials"]["region"].values) == ["V4", "IT", "IT", "V4", "IT"]


def replaced(name, values):
    def change(file):
        del file[name]
        if values is not None:
            file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (replaced("units", None), "has no table 'units'"),
        (replaced("units/id", None), "units has no rows, or no column 'id'"),
        (replaced("units/id", np.zeros(5, int)), "units/id has 4 repeated ids, such as 'u0'"),
        (replaced("units/id", np.arange(4)), "columns of /units have .* rows; wanted as many"),
        (replaced("units/spike_times", None), "has no dataset 'units/spike_times'"),
        (replaced("units/spike_times", np.zeros((3, 2))), r"units/spike_times is float64 of shape \(3, 2\)"),
        (replaced("units/spike_times", np.zeros(3)), "spike_times_index has 5 ends, the last at"),
        (replaced("units/spike_times_index", None), "has no column 'spike_times_index'"),
        (
            replaced("units/spike_times_index", np.array([90, 80, 99, 99, TOTAL])),
            f"the last at {TOTAL}, or not in",
        ),
        (replaced("units/spike_times_index", np.arange(4)), "has 4 ends"),
        (replaced("units/spike_times_index", np.zeros(5)), "wanted where each row ends"),
        (
            replaced("units/electrodes", np.array([0, 2, 1, 1, 9])),
            r"electrodes of unit 4 are \[9\]; there are 3",
        ),
        (replaced("units/obs_intervals", np.zeros((7, 3))), "obs_intervals are not all a start and a stop"),
        (replaced("units/depth", np.full(5, 7)), "counts beyond the 2 depth_elements"),
        (replaced("intervals/trials/start_time", np.zeros(3)), "columns of /intervals/trials have"),
        (replaced("intervals/trials/start_time", np.full(10, np.nan)), "names no stimulus with an onset"),
        (
            replaced("stimulus/presentation/flashes/data", np.array([1, 0, 2])),
            "counts to 2; order_of_images has 2",
        ),
        (replaced("stimulus/presentation/flashes/data", np.zeros(3)), "data is float64; wanted indices"),
        (replaced("stimulus/presentation/flashes/timestamps", None), "has no timestamps for 3 presentations"),
        (
            lambda file: file.attrs.modify("nwb_version", "1.0.6"),
            "has nwb_version 1.0.6; wanted .* version 2",
        ),
    ],
)
def test_nwb__refuses_what_does_not_fit(folder, spoil, change, why):
    with spoil() as file:
        change(file)
    with pytest.raises(InputError, match=r"sub-01_ses-2\.nwb.*" + why):
        read(folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nwb__spike_times_that_are_no_numbers_are_refused_when_they_are_read(folder, spoil, bad):
    with spoil() as file:
        file["units/spike_times"][3] = bad
    cube = read(folder)["trials"]
    with pytest.raises(InputError, match="units/spike_times of row 0 holds times that are no numbers"):
        cube.compute()


def test_nwb__two_names_of_one_stimulus_are_refused(folder, spoil):
    with spoil() as file:
        file["intervals/trials/image_name"][0] = "dog_01b.png"
    with pytest.raises(InputError, match="both are stimulus 'dog_01b'"):
        read(folder)


def test_nwb__survives_malformed_files(folder):
    file = folder / "sub-01_ses-2.nwb"
    assert survive(partial(read, folder), file, 100) > 20
