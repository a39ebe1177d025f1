from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.images import pixels_of
from stores.readers.kay2008 import place, read
from tests.layouts import kay2008 as layout
from tests.test_readers import ReaderTests

NAMES = [f"{who}/{split}" for who in ("S1", "S2") for split in ("train", "test")]


class TestKay2008(ReaderTests):
    name = "kay2008"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = dict.fromkeys(NAMES, "fmri") | {
        "images/train": "images",
        "images/test": "images",
    }


@pytest.mark.parametrize("modern", [True, False])
def test_kay2008__every_value_is_at_its_place(tmp_path, modern):
    found = read(layout.write(tmp_path, modern=modern))
    for name in NAMES:
        subject, split = name.split("/")
        kind = {"train": "Trn", "test": "Val"}[split]
        np.testing.assert_array_equal(found[name].values[:, :, 0, 0], layout.data(subject, kind).T)
        assert found[name].attrs["voxels_without_data"] == len(layout.NAN[subject, kind])
        assert list(found[name][STIMULUS].values[:2]) == [f"{split}0001", f"{split}0002"]
        pictures = pixels_of(found[f"images/{split}"])[..., 0]
        np.testing.assert_array_equal(pictures, layout.pictures(kind))
        assert list(found[f"images/{split}"][STIMULUS].values) == list(found[name][STIMULUS].values)


def test_kay2008__responses_are_read_when_asked_for(tmp_path):
    assert read(layout.write(tmp_path))["S1/train"].chunks is not None


def test_kay2008__voxels_lie_where_matlab_put_them(tmp_path):
    cube = read(layout.write(tmp_path))["S2/test"]
    volume = np.zeros((64, 64, 18), order="F")
    volume.ravel(order="F")[layout.index("S2") - 1] = np.arange(60)
    assert volume.any()
    np.testing.assert_array_equal(volume[cube.x, cube.y, cube.z], np.arange(60))
    assert [int(axis[0]) for axis in place(np.array([2]))] == [1, 0, 0]
    assert list(cube["region"].values[:9]) == [
        "Other",
        "V1",
        "V2",
        "V3",
        "V3A",
        "V3B",
        "V4",
        "LatOcc",
        "Other",
    ]
    assert cube[UNIT].values[0] == "v00006"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dataValS2": None}, "no dataset 'dataValS2'"),
        ({"roiS1": None}, "no dataset 'roiS1'"),
        ({"roiS1": np.full((50, 1), 8.0)}, "roiS1 has codes from 8 to 8"),
        ({"roiS1": np.full((50, 1), np.nan)}, "roiS1 is not all whole"),
        ({"roiS1": np.zeros((49, 1))}, "49 roiS1"),
        ({"voxIdxS1": np.zeros((50, 1))}, "voxIdxS1 goes from 0 to 0; wanted 1 to 73728"),
        ({"voxIdxS1": np.full((50, 1), 73729.0)}, "voxIdxS1 goes from"),
        ({"voxIdxS1": np.ones((50, 1))}, "not unique"),
        ({"dataTrnS1": layout.data("S1", "Trn").T}, "dataTrnS1 is"),
        ({"dataTrnS1": layout.data("S1", "Val")}, "dataTrnS1 is"),
        ({"dataTrnS1": np.ones((50, 20), "int32")}, "dataTrnS1 is int32"),
    ],
)
def test_kay2008__refuses_what_does_not_fit(tmp_path, changes, why):
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=why) as caught:
        read(layout.write(tmp_path, changes))
    assert "EstimatedResponses.mat" in str(caught.value)


def test_kay2008__an_infinite_response_is_refused_when_it_is_read(tmp_path):
    spoilt = layout.data("S1", "Trn")
    spoilt[4, 5] = np.inf
    cube = read(layout.write(tmp_path, {"dataTrnS1": spoilt}))["S1/train"]
    with pytest.raises(InputError, match=r"EstimatedResponses\.mat: dataTrnS1 holds 1 infinite"):
        cube.compute()


def test_kay2008__contrast_is_stretched_over_all_images_at_once(tmp_path):
    pixels = (layout.pictures("Trn") - 100) / 100
    cube = read(layout.write(tmp_path, pixels={"stimTrn": pixels}))["images/train"]
    want = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255)
    np.testing.assert_array_equal(pixels_of(cube)[..., 0], want)
    with pytest.raises(InputError, match=r"Stimuli\.mat: stimTrn has pixels that are NaN"):
        read(layout.write(tmp_path, pixels={"stimTrn": np.full((20, 16, 16), np.nan)}))
