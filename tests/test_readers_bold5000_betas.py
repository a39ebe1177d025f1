from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.bold5000_betas import read
from tests.layouts import bold5000 as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

FIRST = f"CSI1_GLMbetas-{layout.VERSION}_ses-01.nii.gz"
SECOND = FIRST.replace("01", "02")


class TestBold5000Betas(ReaderTests):
    name = "bold5000_betas"
    write = staticmethod(layout.write_betas)
    cubes: ClassVar[dict[str, str]] = {"CSI1/once": "fmri", "CSI1/repeated": "fmri"}


@pytest.fixture
def folder(tmp_path):
    return layout.write_betas(tmp_path)


def test_betas__every_trial_and_voxel_is_at_its_place(folder):
    found = read(folder)
    once, repeated = found["CSI1/once"], found["CSI1/repeated"]
    assert once.shape == (62, 60, 1, 1)
    assert repeated.shape == (3, 60, 1, 5)
    assert once.chunks[0] == (31, 31)  # a session each
    x, y, z = (once[axis].values for axis in "xyz")
    outside = (x == 0) & (y == 0) & (z == 0)
    stems = [one.rsplit(".", 1)[0] for one in layout.names("")]
    for cube in (once, repeated):
        values = cube.values
        for row, stem in enumerate(cube[STIMULUS].values):
            trials = [n for n, one in enumerate(stems) if one == stem]
            for repeat in range(cube.sizes[REPEAT]):
                got = values[row, :, 0, repeat]
                if repeat < len(trials):
                    want = layout.volume_value(trials[repeat], x, y, z)
                    np.testing.assert_array_equal(got[~outside], want[~outside])
                    assert np.isnan(got[outside]).all()
                else:
                    assert np.isnan(got).all()
    assert once[STIMULUS].values[0] == stems[1]
    assert list(once["trial"].values) == sorted(once["trial"].values)


def test_betas__facts_travel(folder):
    cube = read(folder)["CSI1/repeated"]
    assert list(cube.sel({STIMULUS: "homeoffice6"})["trial_session"].values) == [1, 1, 1, 2, 2]
    assert list(cube.sel({STIMULUS: "n01930112_19568"})["trial"].values) == [0, 38, 39, -1, -1]
    np.testing.assert_array_equal(cube["roi_brainmask"], cube["x"] > 0)
    np.testing.assert_array_equal(cube["roi_LHLOC"], cube["y"] > 2)
    np.testing.assert_array_equal(cube["roi_RHPPA"], (cube["y"] > 1) & (cube["z"] == 2))
    assert (cube.attrs["units"], cube.attrs["subject"]) == ("percent signal change", "CSI1")
    assert cube.attrs["dropped"] == {}


def test_betas__a_mask_elsewhere_in_space_is_counted(folder):
    layout.save(folder / "CSI1_brainmask.nii.gz", np.ones(layout.GRID, np.int16), np.diag([2.0, 2, -2, 1]))
    layout.save(folder / "spm/sub-CSI1/sub-CSI1_mask-RHPPA.nii.gz", np.ones((4, 5, 4), np.int16))
    cube = read(folder)["CSI1/once"]
    assert cube.attrs["dropped"] == {"masks that lie elsewhere in space": 2}
    assert [one for one in cube.coords if str(one).startswith("roi_")] == ["roi_LHLOC"]
    layout.save(folder / "spm/sub-CSI1/sub-CSI1_mask-LHLOC.nii.gz", np.ones(layout.GRID, np.int16))
    with pytest.raises(InputError, match=r"mask-LHLOC\.nii\.gz is a second mask of LHLOC"):
        read(folder)


def test_betas__refuses_sessions_that_do_not_fit(folder):
    (folder / "CSI1_imgnames.txt").write_text("\n".join(layout.names("")[:-1]) + "\n")
    with pytest.raises(InputError, match=r"CSI1_imgnames\.txt names 73 images; the 2 sessions .* 74 trials"):
        read(folder)
    layout.write_betas(folder.parent)
    layout.save(folder / SECOND, np.zeros((4, 5, 2, 37), np.float32))
    with pytest.raises(InputError, match=r"ses-02\.nii\.gz is \(4, 5, 2, 37\)"):
        read(folder)
    (folder / SECOND).unlink()
    with pytest.raises(InputError, match="names 74 images; the 1 sessions of CSI1 have 37 trials"):
        read(folder)
    (folder / FIRST).rename(folder / SECOND)
    with pytest.raises(InputError, match=r"one of sessions \[2\]; wanted all from 1"):
        read(folder)
    with pytest.raises(InputError, match="holds no files like CSI1_GLMbetas-TYPEA"):
        read(folder, version="TYPEA-ASSUMEHRF")


def test_betas__infinite_values_are_refused(folder):
    spoilt = np.zeros((*layout.GRID, 37), np.float32)
    spoilt[1, 2, 1, 5] = np.inf
    layout.save(folder / SECOND, spoilt)
    with pytest.raises(InputError, match=r"ses-02\.nii\.gz: its values holds 1 infinite"):
        read(folder)["CSI1/once"].compute()


def test_betas__all_missing_units_stay(folder):
    cube = read(folder)["CSI1/once"].compute()
    gone = np.isnan(cube.values).all(axis=(0, 2, 3))
    assert list(cube[UNIT].values[gone]) == ["x000_y000_z000"]


@pytest.mark.parametrize("name", [FIRST, "CSI1_brainmask.nii.gz"])
def test_betas__survives_malformed_files(folder, name):
    assert survive(partial(read, folder), folder / name, 28) > 10
