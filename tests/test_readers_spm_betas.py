from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers.spm_betas import parse, read
from tests.layouts import spm_betas as layout
from tests.layouts.haxby2001 import save
from tests.test_readers import ReaderTests


class TestSpmBetas(ReaderTests):
    name = "spm_betas"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"betas": "fmri"}

    def files(self, raw):
        """Betas of motion and constants are not opened."""
        return [one for one in super().files(raw) if one.name in READ]


UNREAD = {n for n, (_, name) in enumerate(layout.regressors(), 1) if "bf" not in name}
READ = {"SPM.mat", "FFA.nii.gz", "V1.nii.gz"} | {
    f"beta_{n:04d}.nii" for n in range(1, len(layout.regressors()) + 1) if n not in UNREAD
}


def test_spm__every_condition_run_and_voxel_is_at_its_place(tmp_path):
    cube = read(layout.write(tmp_path))["betas"]
    assert cube.chunks is not None
    assert list(cube[STIMULUS].values) == ["face", "house"]
    assert list(cube["run"].values) == [1, 2, 3]
    for n, condition in enumerate(("face", "house")):
        for run in (1, 2, 3):
            got = cube.values[n, :, 0, run - 1]
            if (condition, run) == ("house", 3):
                assert np.isnan(got).all()
            else:
                np.testing.assert_array_equal(got, layout.value(condition, run).ravel())
    np.testing.assert_array_equal(cube["roi_FFA"], cube["x"] == 1)
    np.testing.assert_array_equal(cube["roi_V1"], cube["y"] >= 1)
    assert cube.attrs["dropped"] == {"regressors without a basis function (motion, constants)": 6}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("spm_spm:beta (0001) - Sn(1) face*bf(1)", ("face", 1)),
        ("spm_spm:beta (0002) - Sn(12) big face*bf(2)", ("big face*bf(2)", 12)),
        ("beta - Sn(1) facexrating^1*bf(1)", ("facexrating^1", 1)),
        ("spm_spm:beta (0003) - Sn(2) R1", None),
        ("spm_spm:beta (0004) - Sn(2) constant", None),
    ],
)
def test_spm__names_are_parsed(text, want):
    assert parse(text) == want


def test_spm__refuses_descriptions_that_do_not_fit(tmp_path):
    texts = [f"Sn({run}) {name}" for run, name in layout.regressors()]
    for changed, why in (
        (
            ["Sn(1) face*bf(1)", "Sn(1) face*bf(1)", *texts[2:]],
            r"Vbeta\(2\) is condition 'face' of run 1 for a",
        ),
        (["something", *texts[1:]], r"Vbeta\(1\)\.descrip is 'something'"),
        (["Sn(1) R1"] * len(texts), "none of a condition"),
    ):
        with pytest.raises(InputError, match=r"SPM\.mat.*" + why):
            read(layout.write(tmp_path, changed))


def test_spm__refuses_images_that_are_missing_or_of_another_grid(tmp_path):
    layout.write(tmp_path)
    save(tmp_path / "beta_0004.nii", np.zeros((3, 4, 6), np.float32))
    with pytest.raises(InputError, match=r"beta_0004\.nii is \(3, 4, 6\)"):
        read(tmp_path)
    (tmp_path / "beta_0004.nii").unlink()
    with pytest.raises(InputError, match=r"beta_0004\.nii does not exist"):
        read(tmp_path)


def test_spm__an_infinite_beta_is_refused_when_it_is_read(tmp_path):
    layout.write(tmp_path)
    save(tmp_path / "beta_0001.nii", np.full(layout.SHAPE, np.inf, np.float32))
    with pytest.raises(InputError, match=r"beta_0001\.nii: its values holds 60 infinite"):
        read(tmp_path)["betas"].compute()
