from typing import ClassVar

import h5py
import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.nsd import Betas, read
from tests.layouts import nsd as layout
from tests.layouts.haxby2001 import save
from tests.test_readers import ReaderTests


class TestNsd(ReaderTests):
    name = "nsd"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"betas": "fmri"}


def test_nsd__every_trial_and_voxel_is_at_its_place(tmp_path):
    cube = read(layout.write(tmp_path))["betas"]
    assert cube.chunks is not None
    assert dict(cube.sizes) == {STIMULUS: 6, UNIT: 60, TIME: 1, REPEAT: 3}
    trials = np.concatenate([layout.session(0), layout.session(1)])
    shown = layout.SUBJECTIM[0][layout.ORDER[:12] - 1] - 1
    assert list(cube["nsd_id"].values) == sorted(set(shown.tolist()))
    for n, nsd in enumerate(cube["nsd_id"].values):
        rows = np.flatnonzero(shown == nsd)
        for repeat in range(3):
            got = cube.values[n, :, 0, repeat]
            if repeat < len(rows):
                np.testing.assert_allclose(got, trials[rows[repeat]].ravel() / 300, rtol=1e-6)
            else:
                assert np.isnan(got).all()
    voxel = int(np.flatnonzero((cube.x == 2) & (cube.y == 3) & (cube.z == 1))[0])
    assert cube.values[0, voxel, 0, 0] * 300 % 1000 == pytest.approx(132, abs=1e-2)
    assert list(cube["shared1000"].values) == [one in (2, 19) for one in cube["nsd_id"].values]


def test_nsd__regions_are_transposed_to_the_betas(tmp_path):
    cube = read(layout.write(tmp_path))["betas"]
    for code in (1, 2):
        want = (cube["x"] == code) & (cube["y"] != 4)
        np.testing.assert_array_equal(cube[f"roi_prf-visualrois_{code}"], want)
    assert not any(str(name).endswith(("_0", "_-1")) for name in cube.coords)


@pytest.mark.parametrize("step", [1, 2, 7, 15, 16, 33, 60])
def test_nsd__blocks_of_any_size_hold_the_same(tmp_path, step):
    folder = layout.write(tmp_path)
    files = tuple(sorted(folder.glob("*.hdf5")))
    whole = Betas(files, layout.GRID, (0, 6, 12), tuple((n, 11 - n) for n in range(12)))
    want = whole((slice(0, 12), slice(0, 60), slice(0, 1), slice(0, 2)))
    for start in range(0, 60, step):
        units = slice(start, min(60, start + step))
        got = whole((slice(0, 12), units, slice(0, 1), slice(0, 2)))
        np.testing.assert_array_equal(got, want[:, units])


@pytest.mark.parametrize(
    ("design", "why"),
    [
        ({"masterordering": layout.ORDER[:11]}, "masterordering has 11 trials"),
        ({"masterordering": layout.ORDER - 1}, "masterordering is float64"),
        ({"masterordering": layout.ORDER + 5}, "masterordering has 14 trials"),
        ({"masterordering": layout.ORDER * np.nan}, "masterordering is float64"),
        ({"subjectim": layout.SUBJECTIM[:, :3]}, r"subjectim \(2, 3\)"),
    ],
)
def test_nsd__refuses_a_design_that_does_not_fit(tmp_path, design, why):
    with pytest.raises(InputError, match=r"nsd_expdesign\.mat.*" + why):
        read(layout.write(tmp_path, **design))


def test_nsd__refuses_sessions_and_regions_that_do_not_fit(tmp_path):
    folder = layout.write(tmp_path)
    with pytest.raises(InputError, match="of subject 3"):
        read(folder, subject=3)
    save(folder / "roi" / "other.nii.gz", np.ones(layout.GRID, np.int16))
    with pytest.raises(InputError, match=r"other\.nii\.gz has the grid \(4, 5, 3\)"):
        read(folder)
    for values, why in (
        (np.zeros((6, 4, 5, 2), "i2"), "has voxels"),
        (np.zeros((6, 4, 5)), "betas is float64"),
    ):
        with h5py.File(folder / "betas_session02.hdf5", "w") as file:
            file["betas"] = values
        with pytest.raises(InputError, match=r"betas_session02\.hdf5: betas .*" + why.removeprefix("betas ")):
            read(folder)
