"""A cube on disk is reused or filled up only where it is the one asked for; else it is told what differs."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import stores
from stores.dims import STIMULUS, UNIT
from stores.place import Place
from stores.provenance import differing
from tests.laziness import computing_forbidden

MADE = {"v": 1}


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return tmp_path if request.param == "folder" else f"memory://resume-{tmp_path.name}"


@pytest.fixture
def cube():
    return stores.simulate("fmri", stimuli=6, units=4)


def begin(root, cube, *, shards):
    with stores.writing(root, "p", cube, made_from=MADE) as target:
        for region in target.regions()[:shards]:
            stores.write_region(target, region, np.asarray(cube[region]))


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 6 * 2 * 4)


OTHERS = {
    r"coordinate 'stimulus': 6 of 6 values differ, first disc_001 -> square_002": lambda one: one[::-1],
    r"shape: \(6, 4, 1, 3\) -> \(6, 2, 1, 3\)": lambda one: one[:, :2],
    r"dtype: float32 -> float64": lambda one: one.astype("f8"),
    r"coordinate 'region': there -> absent": lambda one: one.drop_vars("region"),
    r"coordinate 'hue': absent -> there": lambda one: one.assign_coords(hue=(STIMULUS, np.arange(6))),
    r"coordinate 'x': 1 of 4 values differ, first 3.0 -> 9.0": lambda one: one.assign_coords(
        x=(UNIT, [0.0, 1.0, 2.0, 9.0])
    ),
    r"coordinate 'x': 4 of 4 values differ, first 0.0 -> a": lambda one: one.assign_coords(
        x=(UNIT, [*"abcd"])
    ),
}


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("told", OTHERS)
def test_the_same_key_never_takes_other_labels(tmp_path, cube, small_shards, told, complete):
    begin(tmp_path, cube, shards=2)
    if complete:
        stores.save(tmp_path, "p", cube, made_from=MADE)
    other = OTHERS[told](cube)
    with pytest.raises(
        stores.KeyMismatchError, match=f"was made from the same(.|\n)*{told}(.|\n)*--overwrite"
    ):
        stores.save(tmp_path, "p", other, made_from=MADE)
    stores.save(tmp_path, "p", cube, made_from=MADE)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "p").compute(), cube)
    stores.save(tmp_path, "p", other, made_from=MADE, overwrite=True)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "p").compute(), other)


def test_a_cube_of_which_nothing_is_written_is_made_anew_under_other_labels(root, cube):
    begin(root, cube, shards=0)
    stores.save(root, "p", cube[::-1], made_from=MADE)
    xr.testing.assert_equal(stores.open_cube(root, "p").compute(), cube[::-1])
    assert stores.verify(root) == []


def test_labels_that_differ_in_rounding_or_type_of_text_are_the_same(root, cube, small_shards):
    begin(root, cube, shards=1)
    near = cube.assign_coords(
        x=(UNIT, cube["x"].values * (1 + 1e-12)), region=(UNIT, cube["region"].values.astype("U9"))
    )
    stores.save(root, "p", near, made_from=MADE)
    stores.save(root, "p", stores.open_cube(root, "p"), made_from=MADE)
    xr.testing.assert_equal(stores.open_cube(root, "p").compute(), cube)


def test_lazy_coordinates_are_not_computed_to_compare_them(root, cube):
    lazy = cube.assign_coords(score=(UNIT, da.ones(4)))
    stores.save(root, "p", lazy, made_from=MADE)
    with computing_forbidden():
        stores.save(root, "p", lazy, made_from=MADE)
    with pytest.raises(stores.KeyMismatchError, match=r"'score': 4 of 4 values differ, first 1.0 -> 2.0"):
        stores.save(root, "p", cube.assign_coords(score=(UNIT, [2.0] * 4)), made_from=MADE)


def test_labels_are_not_read_where_their_digests_agree(tmp_path, cube, monkeypatch):
    stores.save(tmp_path, "p", cube, made_from=MADE)
    monkeypatch.setattr("stores.resume.xr.open_dataset", None)
    stores.save(tmp_path, "p", cube, made_from=MADE)


def test_a_cube_that_keeps_no_digests_is_compared_too(tmp_path, cube):
    stores.save(tmp_path, "p", cube, made_from=MADE)
    place = Place.of(tmp_path) / "p"
    place.write_json(
        "origin.json", {k: v for k, v in place.read_json("origin.json").items() if k != "template"}
    )
    stores.save(tmp_path, "p", cube, made_from=MADE)
    with pytest.raises(stores.KeyMismatchError, match="'stimulus': 6 of 6"):
        stores.save(tmp_path, "p", cube[::-1], made_from=MADE)


DAMAGES = {
    "cut": lambda text: text[:-9],
    "no JSON": lambda text: "{",
    "bytes": lambda text: b"\xff",
    "another kind": lambda text: "[]",
    "a key's name": lambda text: text.replace('"content_key"', '"contenu_key"'),
    "the files' name": lambda text: text.replace('"files"', '"filez"'),
    "the key": lambda text: text.replace('"content_key": "', '"content_key": "0'),
    "what it was made from": lambda text: text.replace('"v": 1', '"v": 3'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_origin_is_told_and_nothing_is_replaced_unasked(root, cube, damage):
    stores.save(root, "p", cube, made_from=MADE)
    place = Place.of(root) / "p"
    text = DAMAGES[damage](place.read("origin.json").decode())
    place.write("origin.json", text if isinstance(text, bytes) else text.encode())
    before = place.sizes()
    with pytest.raises(stores.CorruptError, match=r"p/origin.json is damaged.*--overwrite"):
        stores.save(root, "p", cube * 2, made_from=MADE)
    with pytest.raises((stores.CorruptError, stores.KeyMismatchError)):
        stores.save(root, "p", cube * 2, made_from={"v": 2})
    assert place.sizes() == before
    stores.save(root, "p", cube * 2, made_from={"v": 2}, overwrite=True)
    assert json.loads(place.read("origin.json"))["made_from"] == {"v": 2}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1}, {"a": 1.0}, ["a: 1 -> 1.0"]),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": 0.0}, {"a": -0.0}, ["a: 0.0 -> -0.0"]),
        ({"a": None}, {}, ["a: null -> absent"]),
        ({}, {"a": "absent"}, ['a: absent -> "absent"']),
        ({"r": {1: "a", "b": 2}}, {"r": {1: "b", "b": 2}}, ['r.1: "a" -> "b"']),
        ({"r": (1, 2), "q": 1}, {"r": [1, 2], "q": 2}, ["q: 1 -> 2"]),
        ({"r": {}}, {"r": []}, ["r: {} -> []"]),
    ],
)
def test_differing__says_every_field_in_which_the_hashed_json_differs(old, new, told):
    assert differing(old, new) == told
    assert differing(new, new) == []


def test_differing__shows_where_long_texts_part():
    (told,) = differing({"files": ["a"] * 50 + ["b"]}, {"files": ["a"] * 50 + ["c"]})
    assert told.startswith("files: ...")
    assert '"a", "b"]... (255 characters) -> ...' in told
    assert told.endswith('"a", "c"]... (255 characters)')


def test_catalog__lists_a_cube_whose_record_is_damaged(root, cube):
    stores.save(root, "p", cube, made_from=MADE)
    origin = (Place.of(root) / "p").read_json("origin.json")
    (Place.of(root) / "p").write_json("origin.json", origin | {"made_from": [1]})
    assert stores.catalog(root).loc["p", "modality"] == "unreadable"
