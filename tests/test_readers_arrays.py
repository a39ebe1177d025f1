from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.arrays import read
from tests.layouts import arrays as layout
from tests.test_readers import ReaderTests


class TestArrays(ReaderTests):
    name = "arrays"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"responses": "mua"}

    def files(self, raw):
        """The array itself; what can be wrong with the texts is tested below."""
        return [raw / "responses.npz", raw / "cube.yaml"]

    @pytest.mark.parametrize("share", [0.0, 0.0001, 0.02, 0.3, 0.6])
    def test_reader__refuses_truncated_files(self, raw, tmp_path, share):
        super().test_reader__refuses_truncated_files(raw, tmp_path, share)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "csv"])
def test_arrays__every_value_and_name_is_at_its_place(tmp_path, kind):
    cube = read(layout.write(tmp_path, kind))["responses"]
    want = layout.VALUES.transpose(1, 0, 2)[:, :, None, :]
    np.testing.assert_array_equal(cube.values, want[..., :1] if kind == "csv" else want)
    assert list(cube[STIMULUS].values) == ["cat_01", "dog_02", "bat1_03", "hot-air_balloon_04"]
    assert list(cube[UNIT].values) == ["e1", "e2", "e3"]
    assert list(cube["region"].values) == ["V1", "V1", "IT"]
    assert list(cube["score"].values) == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "csv"])
def test_arrays__an_infinite_value_is_refused(tmp_path, kind):
    spoilt = layout.VALUES.copy()
    spoilt[1, 2, 0] = np.inf
    with pytest.raises(InputError, match=rf"responses\.{kind}: .* holds 1 infinite"):
        read(layout.write(tmp_path, kind, spoilt))["responses"].compute()


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "csv"])
def test_arrays__missing_values_stay_nan(tmp_path, kind):
    spoilt = layout.VALUES.copy()
    spoilt[1] = np.nan
    cube = read(layout.write(tmp_path, kind, spoilt))["responses"]
    assert np.isnan(cube.values[:, 1]).all()
    assert np.isfinite(cube.values[:, [0, 2]]).all()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"modality": "mau"}, "modality 'mau'; wanted one of"),
        ({"modality": None}, "lacks modality"),
        ({"modalities": "mua"}, "unknown modalities"),
        ({"dims": ["unit", "image"]}, "dims is"),
        ({"dims": ["unit", "unit", "repeat"]}, "dims is"),
        ({"dims": ["unit", "stimulus"]}, "dims names 2 axes"),
        ({"unit": ["e1", "e2"]}, "2 of unit for an axis of 3"),
        ({"unit": ["e1", "e1", "e2"]}, "unit has 1 repeated ids, such as 'e1'"),
        ({"unit": [1, 2, 3]}, "unit must be a file name or a list of texts"),
        ({"stimulus": "none.txt"}, "none.txt"),
        ({"file": "none.npy"}, "none.npy"),
        ({"file": "images.txt"}, r"ends in \.txt"),
        ({"array": "other"}, "array is 'other'; responses.npz has counts"),
        ({"units": "volts"}, "units"),
        ({"coords": {"unit": {"region": ["V1"]}}}, "coords.unit.region must be a list of 3"),
        ({"coords": {"pair": {}}}, "coords must hold"),
        ({"dims": ["unit", "stimulus", "time"], "time": "x"}, "time is 'x'"),
        ({"dims": ["unit", "stimulus", "time"], "time": [0.1, 0.0]}, "increasing"),
    ],
)
def test_arrays__refuses_names_that_do_not_fit(tmp_path, names, why):
    with pytest.raises(InputError, match=why):
        read(layout.write(tmp_path, **names))


def test_arrays__refuses_pickles_and_absurd_shapes(tmp_path):
    with pytest.raises(InputError, match="holds pickled Python objects"):
        read(layout.write(tmp_path, "npy", np.array([[{}]], object), dims=["unit", "stimulus"]))
    layout.write(tmp_path, "npy")
    whole = (tmp_path / "responses.npy").read_bytes()
    (tmp_path / "responses.npy").write_bytes(whole.replace(b"(3, 4, 2)", b"(9999999999999, 4, 2)"[:9]))
    with pytest.raises(InputError, match=r"responses\.npy"):
        read(tmp_path)
