"""What a store would lose or change is refused before anything is created; all else comes back as it was."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import stores
from stores.dims import STIMULUS, TIME, UNIT

MADE = {"step": "test/1"}


@pytest.fixture
def cube():
    return stores.simulate("fmri", stimuli=4, units=3)


def refused(root, cube, message):
    with pytest.raises(stores.SchemaError, match=message) as fault:
        stores.save(root, "a", cube, made_from=MADE)
    assert list(root.iterdir()) == []
    return str(fault.value)


ENCODINGS = {
    "scale_factor": 2.0,
    "add_offset": 1.0,
    "missing_value": 3.0,
    "_FillValue": 0.0,
    "_Unsigned": "true",
    "coordinates": "x",
    "dtype": "bool",
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_attributes_that_xarray_decodes_are_refused(tmp_path, cube, name):
    refused(
        tmp_path, cube.assign_attrs({name: ENCODINGS[name]}), rf"attrs\['{name}'\] would change or vanish"
    )
    cube["x"].attrs[name] = ENCODINGS[name]
    refused(tmp_path, cube, rf"coordinate 'x': attrs\['{name}'\] would change or vanish")


def test_units_that_make_dates_of_numbers_are_refused(tmp_path, cube):
    dates = {"units": "days since 2000-01-01"}
    behaviour = stores.simulate("behaviour", stimuli=4)
    refused(tmp_path, behaviour.assign_attrs(dates), "'days since 2000-01-01', by which xarray would turn")
    days = cube.assign_coords(day=(STIMULUS, np.arange(4), dates))
    refused(tmp_path, days, r"coordinate 'day': attrs\['units'\] is 'days since")
    dated = cube.assign_coords(day=(STIMULUS, pd.date_range("2020", periods=4), {"units": "days"}))
    refused(tmp_path, dated, r"coordinate 'day': attrs\['units'\] would change or vanish")


@pytest.mark.parametrize("name", ["roi_V1/V2", "a b", "a\\b", "a\n", "", ".x", "..", "x" * 300, 3])
def test_coordinates_are_named_by_one_plain_word(tmp_path, cube, name):
    refused(tmp_path, cube.assign_coords({name: (UNIT, [True, False, True])}), "cannot name a coordinate")


@pytest.mark.parametrize(
    "name", ["complete", "lock", "origin.json", "manifest.json", "notes", "zarr.json", "values"]
)
def test_names_of_a_cubes_own_files_name_no_coordinate(tmp_path, cube, name):
    refused(tmp_path, cube.assign_coords({name: (UNIT, [1, 2, 3])}), f"no coordinate can be named '{name}'")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array(["a", None, "b", "c"], object), "lacks 1 of 4 values"),
        (np.array(["a", np.nan, "b", np.nan], object), "lacks 2 of 4 values"),
        (pd.Categorical(["a", None, "b", "c"]), "lacks 1 of 4 values"),
        (np.array(["a", 2, "b", "c"], object), r"holds objects \(mixed-integer\)"),
        (np.array(["Lied\udce9.jpg", "b", "c", "d"]), r"holds 'Lied\\udce9.jpg', which is not Unicode"),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(tmp_path, cube, values, message):
    refused(tmp_path, cube.assign_coords(odd=(STIMULUS, values)), f"coordinate 'odd' {message}")


@pytest.mark.parametrize("dtype", ["str", "string", "object"])
def test_an_id_that_is_missing_is_refused(tmp_path, cube, dtype):
    ids = pd.Index(["a", None, "c", "d"], dtype=dtype)
    refused(tmp_path, cube.assign_coords({STIMULUS: ids}), "ids of 'stimulus' are (missing|mixed)")


@pytest.mark.parametrize(
    "value", [pd.Timestamp("2020"), Path("x"), b"x", 1j, {"a": [Path("x")]}, {(1, 2): 3}]
)
def test_attributes_that_are_no_json_are_refused_by_name(tmp_path, cube, value):
    refused(tmp_path, cube.assign_attrs(odd=value), r"attrs\['odd'\] cannot be stored \(")
    cube["x"].attrs["odd"] = value
    refused(tmp_path, cube, r"coordinate 'x': attrs\['odd'\] cannot be stored \(")


def test_an_array_is_no_required_attribute(tmp_path, cube):
    cube.attrs |= {"subject": np.array(["a", "b"]), "units": np.array(["z"])}
    assert "attrs['units'] is an array" in refused(
        tmp_path, cube, r"attrs\['subject'\] is an array; wanted one"
    )


def test_numpys_numbers_in_attributes_are_stored(tmp_path, cube):
    cube.attrs["odd"] = {"n": np.float32(1), "l": [np.int64(2), (np.arange(2), np.bool_(True))]}
    cube["x"].attrs["odd"] = np.float32(0.5)
    stores.save(tmp_path, "a", cube, made_from=MADE)
    back = stores.open_cube(tmp_path, "a")
    assert back.attrs["odd"] == {"n": 1.0, "l": [2, [[0, 1], True]]}
    assert back["x"].attrs == {"odd": 0.5}


def test_whatever_is_stored_comes_back_and_is_valid(tmp_path, cube):
    cube = cube.assign_coords(
        day=(STIMULUS, pd.DatetimeIndex(["2020", None, "2021", "2022"])),
        after=(STIMULUS, pd.to_timedelta(np.arange(4), unit="s")),
        seen=(STIMULUS, np.array([True, False, True, True], object)),
        place="é",
        value=(STIMULUS, [1.0, np.nan, 2.0, 3.0], {"units": "days"}),
    )
    stores.save(tmp_path, "a", cube, made_from=MADE)
    for name in ("a", "again"):
        back = stores.validate(stores.open_cube(tmp_path, "a"))
        xr.testing.assert_equal(back.compute(), cube)
        stores.save(tmp_path, name, back, made_from=MADE)
    with xr.open_zarr(tmp_path / "again") as bare:
        xr.testing.assert_equal(bare["values"].compute().rename(cube.name), cube)
    assert back[TIME].attrs == {}


def test_save__text_of_pandas_own_kind_on_a_coordinate(tmp_path):
    cube = stores.simulate("fmri", stimuli=3, units=4)
    cube = cube.assign_coords(note=("unit", pd.array(["a", "b", "c", "d"], dtype="string")))
    stores.save(tmp_path, "p", cube, made_from={"v": 1})
    assert list(stores.open_cube(tmp_path, "p")["note"].values) == ["a", "b", "c", "d"]
