from typing import ClassVar

import nibabel as nib
import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.haxby2001 import read
from tests.layouts import haxby2001 as layout
from tests.shared import shared
from tests.test_readers import ReaderTests


class TestHaxby2001(ReaderTests):
    name = "haxby2001"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"volumes": "fmri", "runs": "fmri"}


@pytest.mark.parametrize("literal", [False, True])
def test_haxby__every_volume_and_voxel_is_at_its_place(tmp_path, literal):
    cube = read(layout.write(tmp_path, literal=literal))["volumes"]
    want = layout.data()
    for t in (0, 7, 23):
        np.testing.assert_array_equal(cube.values[t, :, 0, 0], want[..., t].ravel())
    at = cube.isel({STIMULUS: 5}).where((cube.x == 3) & (cube.y == 1) & (cube.z == 4), drop=True)
    assert float(at.values.item()) == want[3, 1, 4, 5]
    assert cube["category"].values.tolist() == layout.LABELS
    assert cube["chunk"].values.tolist() == layout.CHUNKS
    assert cube[STIMULUS].values[2] == "face_c00_000"
    np.testing.assert_array_equal(cube["roi_mask4_vt"], cube["x"] == 2)
    np.testing.assert_array_equal(cube["roi_mask8_face_vt"], cube["y"] > 2)


def test_haxby__runs_are_means_over_their_volumes(tmp_path):
    found = read(layout.write(tmp_path))
    runs = found["runs"].compute()
    flat = layout.data().reshape(-1, 24).T.astype(float)
    for n, kind in enumerate(runs[STIMULUS].values):
        for run in (0, 1):
            rows = [a == kind and b == run for a, b in zip(layout.LABELS, layout.CHUNKS, strict=True)]
            got = runs.values[n, :, 0, run]
            if any(rows):
                np.testing.assert_allclose(got, flat[rows].mean(axis=0), rtol=1e-6)
            else:
                assert kind == "cat"
                assert np.isnan(got).all()


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["face 0"] * 23, "24 volumes, .*labels.txt labels of 23"),
        (["face 0"] * 23 + ["face"], "row 24 is 'face'"),
        (["face x"] * 24, "row 1 is 'face x'"),
        (["face 0 1"] * 24, "row 1 is"),
    ],
)
def test_haxby__refuses_labels_that_do_not_fit(tmp_path, rows, why):
    with pytest.raises(InputError, match=why):
        read(layout.write(tmp_path, rows))


def test_haxby__refuses_a_mask_of_another_grid(tmp_path):
    layout.write(tmp_path)
    layout.save(tmp_path / "mask_x.nii.gz", np.ones((4, 5, 5), np.int16))
    with pytest.raises(InputError, match=r"mask_x\.nii\.gz has the grid \(4, 5, 5\)"):
        read(tmp_path)
    layout.save(tmp_path / "mask_x.nii.gz", np.ones(layout.SHAPE, np.int16), np.diag([3.5, 3.5, -3.5, 1]))
    with pytest.raises(InputError, match=r"mask_x\.nii\.gz lies elsewhere"):
        read(tmp_path)


def test_haxby__an_infinite_value_is_refused_when_it_is_read(tmp_path):
    layout.write(tmp_path)
    spoilt = layout.data().astype(np.float32)
    spoilt[1, 2, 3, 4] = np.inf
    layout.save(tmp_path / "bold.nii.gz", spoilt)
    with pytest.raises(InputError, match=r"bold\.nii\.gz: its values holds 1 infinite"):
        read(tmp_path)["volumes"].compute()


def test_haxby__bytes_spoilt_in_the_middle_are_an_error(tmp_path):
    layout.write(tmp_path)
    broken = bytearray((tmp_path / "bold.nii.gz").read_bytes())
    broken[len(broken) // 2 : len(broken) // 2 + 40] = bytes(range(40))
    (tmp_path / "bold.nii.gz").write_bytes(broken)
    with pytest.raises(InputError, match=r"bold\.nii\.gz cannot be read"):
        read(tmp_path)


def test_haxby__real_slice():
    folder = shared("data/haxby2001-pymvpa/mvpa2/data")
    found = read(folder)
    volumes, runs = found["volumes"], found["runs"]
    assert dict(volumes.sizes) == {STIMULUS: 1452, UNIT: 800, "time": 1, REPEAT: 1}
    assert int(volumes["roi_mask"].sum()) == 530
    assert dict(runs.sizes) == {STIMULUS: 9, UNIT: 800, "time": 1, REPEAT: 12}
    raw = np.asarray(nib.load(folder / "bold.nii.gz").dataobj)
    np.testing.assert_array_equal(volumes.values[100, :, 0, 0], raw[..., 100].ravel())
    faces = (volumes["category"] == "face") & (volumes["chunk"] == 3)
    assert int(faces.sum()) == 9
    want = volumes.values[faces.values].mean(axis=0)[:, 0, 0]
    np.testing.assert_allclose(runs.sel({STIMULUS: "face"}).values[:, 0, 3], want, rtol=1e-5)
