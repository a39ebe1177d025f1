from functools import partial
from typing import ClassVar

import h5py
import numpy as np
import pytest
import scipy.io

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.bold5000 import Matrix, Regions, image_names, read
from stores.readers.slabs import Rows
from stores.readers.trials import TrialReader
from tests.layouts import bold5000 as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests


class TestBold5000(ReaderTests):
    name = "bold5000"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"CSI1": "fmri", "CSI2": "fmri"}


def trials_of(stem):
    return [n for n, name in enumerate(layout.names("")) if name.rsplit(".", 1)[0] == stem]


@pytest.mark.parametrize("subject", ["CSI1", "CSI2"])
def test_bold5000__every_trial_and_voxel_is_at_its_place(tmp_path, subject):
    cube = read(layout.write(tmp_path))[subject]
    assert cube.chunks is not None
    assert cube.sizes[REPEAT] == 5
    assert cube.sizes[STIMULUS] == len(set(layout.names(""))) == 65
    values = cube.values
    for row, stem in enumerate(cube[STIMULUS].values):
        trials = trials_of(stem)
        for column, unit in enumerate(cube[UNIT].values):
            roi, voxel = unit.split("_")
            want = [layout.value(subject, roi, int(voxel), trial) for trial in trials]
            np.testing.assert_array_equal(values[row, column, 0, : len(trials)], want)
        assert np.isnan(values[row, :, 0, len(trials) :]).all()
        np.testing.assert_array_equal(cube["trial"].values[row], trials + [-1] * (5 - len(trials)))


@pytest.mark.parametrize("step", [1, 3, 5])
@pytest.mark.parametrize("kind", ["h5", "mat"])
def test_bold5000__blocks_of_any_size_hold_the_same(tmp_path, kind, step):
    matrices, shape = layout.matrices("CSI1"), (layout.TRIALS, 4)
    for name in ("h5", "mat"):
        (tmp_path / name).mkdir()
    path = tmp_path / kind / "x"
    if kind == "mat":
        scipy.io.savemat(path.with_suffix(".mat"), matrices)
        parts = [Matrix(path.with_suffix(".mat"), roi, one.shape) for roi, one in matrices.items()]
    else:
        with h5py.File(path, "w") as file:
            file.update(matrices)
        parts = [Rows(path, roi) for roi in matrices]
    whole = np.concatenate(list(matrices.values()), axis=1)
    reader = TrialReader(Regions(tuple(parts), (0, shape[1], 7, 8)), np.array([[70, -1], [3, 9], [0, 71]]))
    for start in range(0, 8, step):
        units = slice(start, min(8, start + step))
        got = reader((slice(1, 3), units, slice(0, 1), slice(0, 2)))
        np.testing.assert_array_equal(got[:, :, 0].transpose(0, 2, 1), whole[[[3, 9], [0, 71]]][:, :, units])


def test_bold5000__facts_travel(tmp_path):
    found = read(layout.write(tmp_path))
    one, two = found["CSI1"], found["CSI2"]
    assert list(one["roi"].values) == ["LHPPA"] * 4 + ["RHLOC"] * 3 + ["RHRSC"]
    assert list(two["roi"].values) == ["LHLO"] * 2 + ["RHRRSC"] * 3
    assert list(two["region"].values) == ["LOC"] * 2 + ["RSC"] * 3
    assert list(two["hemisphere"].values) == ["left"] * 2 + ["right"] * 3
    at = one.sel({STIMULUS: "homeoffice6"})
    assert list(at["trial_run"].values) == [1, 1, 1, 2, 2]
    assert (at["file"].item(), at["image_type"].item()) == ("homeoffice6.jpg", "scenes")
    assert one.sel({STIMULUS: "n01930112_19568"})["image_type"].item() == "imagenet"
    assert one.sel({STIMULUS: "COCO_train2014_000000420713"})["image_type"].item() == "coco"
    assert {str(name) for name in one[STIMULUS].values[one["repeated"].values]} == {
        name.rsplit(".", 1)[0] for name in layout.AGAIN
    }
    assert (one.attrs["subject"], one.attrs["quantity"]) == (
        "CSI1",
        "BOLD signal after onset, mean of TR 3 and 4",
    )


def test_bold5000__a_file_or_a_time_may_be_asked_for(tmp_path):
    root = layout.write(tmp_path)
    file = root / "CSI2/mat/CSI2_ROIs_TR34.mat"
    assert list(read(file)) == ["CSI2"]
    file.rename(file.with_name("CSI2_ROIs_TR3.mat"))
    assert list(read(root)) == ["CSI1"]
    assert read(root, tr="3")["CSI2"].attrs["quantity"] == "BOLD signal after onset, TR 3"
    with pytest.raises(InputError, match="there is no tr '6'; choose one of 1, 2, 3, 4, 5, 34"):
        read(root, tr="6")
    with pytest.raises(InputError, match=r"holds no files CSI\*_ROIs_TR1\.h5"):
        read(root, tr="1")
    (root / "stim_lists/CSI01_stim_lists.txt").unlink()
    with pytest.raises(InputError, match=r"CSI1_ROIs_TR34\.h5: there is no stim_lists/CSI01_stim_lists\.txt"):
        read(root)


def test_bold5000__an_h5_file_goes_before_its_mat(tmp_path):
    root = layout.write(tmp_path)
    (root / "CSI1/mat").mkdir()
    scipy.io.savemat(root / "CSI1/mat/CSI1_ROIs_TR34.mat", layout.matrices("CSI1"))
    assert read(root)["CSI1"].attrs["sources"][0]["file"] == "CSI1_ROIs_TR34.h5"
    both = [read(root / f"CSI1/{kind}/CSI1_ROIs_TR34.{kind}")["CSI1"] for kind in ("h5", "mat")]
    np.testing.assert_array_equal(both[0].values, both[1].values)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (layout.names()[:-1], r"LHPPA has 74 trials; CSI01_stim_lists\.txt has 73"),
        ([*layout.names()[:-1], ""], "line 74 is empty"),
        (
            [*layout.names()[:-1], "homeoffice6.png"],
            r"homeoffice6\.jpg and homeoffice6\.png would be one stimulus",
        ),
    ],
)
def test_bold5000__refuses_lists_that_do_not_fit(tmp_path, lines, why):
    root = layout.write(tmp_path)
    (root / "stim_lists/CSI01_stim_lists.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=why):
        read(root)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(74), r"LHPPA is float64 of shape \(74,\)"),
        (np.zeros((4, 74)), "LHPPA has 4 trials"),
        (np.array([["a"] * 4] * 74, "S1"), "LHPPA is"),
        (np.zeros((74, 0)), r"LHPPA has the shape \(74, 0\)"),
    ],
)
def test_bold5000__refuses_matrices_that_do_not_fit(tmp_path, values, why):
    root = layout.write(tmp_path)
    with h5py.File(root / "CSI1/h5/CSI1_ROIs_TR34.h5", "a") as file:
        del file["LHPPA"]
        file["LHPPA"] = values
    with pytest.raises(InputError, match=r"CSI1_ROIs_TR34\.h5: " + why):
        read(root)


def test_bold5000__infinite_values_are_refused_and_missing_ones_stay(tmp_path):
    root = layout.write(tmp_path)
    file = root / "CSI2/mat/CSI2_ROIs_TR34.mat"
    spoilt = layout.matrices("CSI2")
    spoilt["LHLO"][:, 1] = np.nan
    scipy.io.savemat(file, spoilt)
    cube = read(root)["CSI2"].compute()
    assert list(cube[UNIT].values[np.isnan(cube.values).all(axis=(0, 2, 3))]) == ["LHLO_0001"]
    scipy.io.savemat(file, spoilt | {"RHRRSC": np.full((74, 3), np.inf)})
    with pytest.raises(InputError, match=r"CSI2_ROIs_TR34\.mat: RHRRSC holds 222 infinite"):
        read(root)["CSI2"].compute()
    scipy.io.savemat(file, {"LHLO": "text"})
    with pytest.raises(InputError, match="LHLO holds no numbers"):
        read(root)


def test_names__are_the_same_however_repeats_are_marked(tmp_path):
    for n, prefix in enumerate(("rep_", "")):
        (tmp_path / f"{n}.txt").write_text("\r\n".join(layout.names(prefix)) + "\r\n")
    with_mark, without = (image_names(tmp_path / f"{n}.txt") for n in range(2))
    assert with_mark[0] == without[0]
    for name, values in with_mark[1].items():
        np.testing.assert_array_equal(values, without[1][name])


@pytest.mark.parametrize("name", ["CSI1/h5/CSI1_ROIs_TR34.h5", "CSI2/mat/CSI2_ROIs_TR34.mat"])
def test_bold5000__survives_malformed_files(tmp_path, name):
    root = layout.write(tmp_path)
    assert survive(partial(read, root), root / name, 56) > 10
