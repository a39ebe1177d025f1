from typing import ClassVar

import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.raster import read
from tests.layouts import raster as layout
from tests.shared import shared
from tests.test_readers import ReaderTests

REAL = "data/macaque-it-zhang-desimone/Zhang_Desimone_7objects_raster_data"
TOTAL = 603_003


class TestRaster(ReaderTests):
    name = "raster"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"spikes": "spikes"}


def test_raster__every_trial_is_at_its_place(tmp_path):
    cube = read(layout.write(tmp_path), width=0.001)["spikes"].compute()
    assert list(cube[STIMULUS].values) == layout.STIMULI
    assert cube.sizes[TIME] == 300
    assert cube[TIME].values[100] == 0.0005  # the column of onset is the first millisecond from 0
    for unit in range(3):
        for stimulus in range(4):
            for repeat in range(cube.sizes[REPEAT]):
                got = cube.values[stimulus, unit, :, repeat]
                if repeat >= layout.repeats(unit, stimulus):
                    assert np.isnan(got).all()
                else:
                    columns = [one - 1 for one in layout.spikes(unit, stimulus, repeat)]
                    np.testing.assert_array_equal(np.flatnonzero(got), columns)


def test_raster__facts_travel(tmp_path):
    cube = read(layout.write(tmp_path), region="IT")["spikes"]
    assert list(cube["stimulus_ID"].values) == ["car", "car", "face", "face"]
    assert list(cube["stimulus_position"].values) == ["lower", "upper"] * 2
    assert list(cube["channel"].values) == ["1", "2", "3"]
    assert list(cube["recording_session"].values) == ["1001", "1002", "1003"]
    assert set(cube["region"].values) == {"IT"}
    assert "label correct, which varies within stimuli" in cube.attrs["dropped"]
    assert cube[UNIT].values[0] == "bp1001spk_01A"
    other = read(layout.write(tmp_path), label="stimulus_ID")["spikes"]
    assert list(other[STIMULUS].values) == ["car", "face"]
    assert np.nansum(other) == np.nansum(cube)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"raster_data": np.full((12, 300), 0.5)}, "raster_data is no spike count"),
        ({"raster_data": np.full((12, 300), np.nan)}, "raster_data is no spike count"),
        ({"raster_data": np.full((12, 300), np.inf)}, "raster_data is no spike count"),
        ({"raster_data": -np.ones((12, 300))}, "raster_data is no spike count"),
        ({"raster_data": np.ones((11, 300))}, "has 12 labels for 11 trials"),
        ({"raster_data": np.ones((12, 200))}, "trials last from -0.1 to 0.1 s"),
        ({"raster_data": "text"}, "raster_data is"),
        ({"raster_labels": 3.0}, "raster_labels is no struct"),
        ({"raster_labels": {"other": layout.cell(["a"] * 12)}}, "no field that all files share"),
        ({"raster_site_info": {"unit": "A"}}, "alignment_event_time is not one number"),
        ({"raster_site_info": {"alignment_event_time": np.nan}}, "alignment_event_time is not one number"),
        ({"raster_site_info": {"alignment_event_time": np.inf}}, "alignment_event_time is not one number"),
    ],
)
def test_raster__refuses_what_does_not_fit(tmp_path, changes, why):
    assert len(layout.trials(1)) == 12
    with pytest.raises(InputError, match=why) as caught:
        read(layout.write(tmp_path, **changes))
    assert "bp100" in str(caught.value)


def test_raster__refuses_bins_beyond_the_trials(tmp_path):
    with pytest.raises(InputError, match=r"bins need -0\.5 to 0\.2"):
        read(layout.write(tmp_path), start=-0.5, stop=0.2)
    cut = read(layout.write(tmp_path), start=0.0, stop=0.1)["spikes"]
    whole = read(layout.write(tmp_path))["spikes"]
    assert np.nansum(whole) - np.nansum(cut) == cut.attrs["dropped"]["spikes outside 0 to 0.1 s"] > 0


def test_raster__real_neurons_keep_every_spike():
    cube = read(shared(REAL), rate=False)["spikes"]
    assert dict(cube.sizes) == {STIMULUS: 21, UNIT: 132, TIME: 20, REPEAT: 20}
    values = cube.compute()
    assert int(np.nansum(values.values, dtype=np.float64)) == TOTAL
    assert cube.attrs["dropped"] == {}
    shown = values.notnull().any(TIME).sum((STIMULUS, REPEAT))
    assert set(shown.values.tolist()) <= {419, 420}
    assert cube[TIME].values[0] == -0.475
    before, after = (values.sel({TIME: slice(*one)}).mean() for one in ((-0.5, 0), (0.1, 0.3)))
    assert float(after) > 1.1 * float(before)
