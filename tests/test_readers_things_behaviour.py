from typing import ClassVar

import numpy as np
import pytest

import stores
from stores.dims import UNIT
from stores.errors import InputError
from stores.readers import things_behaviour as behaviour
from stores.readers.things_stems import stem_of
from tests.layouts import things_behaviour as layout
from tests.layouts.things_stimuli import CONCEPTS, stems
from tests.malformed import survive
from tests.test_readers import ReaderTests


class TestMemorability(ReaderTests):
    name = "things-memorability"
    write = staticmethod(layout.memorability)
    cubes: ClassVar[dict[str, str]] = {"memorability": "behaviour"}


class TestConcepts(ReaderTests):
    name = "things-concepts"
    write = staticmethod(layout.concepts)
    cubes: ClassVar[dict[str, str]] = {"concepts": "behaviour"}


class TestThingsplus(ReaderTests):
    name = "thingsplus"
    write = staticmethod(layout.thingsplus)
    cubes: ClassVar[dict[str, str]] = {"ratings": "behaviour"}


class TestCsv(ReaderTests):
    name = "csv-by-stimulus"
    write = staticmethod(layout.scores)
    cubes: ClassVar[dict[str, str]] = {"scores": "behaviour"}


def test_memorability__keeps_every_image_and_its_one_nan(tmp_path):
    cube = behaviour.memorability(layout.memorability(tmp_path))
    assert list(cube.stimulus.values) == stems()
    assert list(cube.unit.values) == ["cr"]
    assert int(np.isnan(cube).sum()) == 1
    assert np.isnan(cube.sel(stimulus=layout.UNSCORED).item())
    for n in (1, 50, 157):
        assert cube.sel(stimulus=stems()[n - 1]).item() == layout.score(n)
    assert cube.things_image_nr_ascii.values.tolist() == list(range(1, 158))
    assert int((cube.things_image_nr_ascii != cube.things_image_nr_paper).sum()) == 91


def test_memorability__joined_by_stem_is_right(tmp_path):
    cube = behaviour.memorability(layout.memorability(tmp_path))
    brain = cube.isel(stimulus=slice(None, None, -3))
    left, right = stores.align(brain, cube)
    np.testing.assert_array_equal(left.values, right.values)


def test_concepts__keep_the_label_na_as_text(tmp_path):
    cube = behaviour.concepts(layout.concepts(tmp_path))
    assert tuple(cube.category.values) == layout.LABELS
    assert list(cube.unit.values) == ["category", "CR", "dim_based_typ", "beh_typ"]
    assert list(cube.stimulus.values) == list(CONCEPTS)
    assert int(np.isnan(cube.sel(unit="beh_typ")).sum()) == layout.LABELS.count("NA")
    assert cube.sel(stimulus="zebra", unit="dim_based_typ").item() == 1.1


def test_ratings__go_by_unique_id(tmp_path):
    cube = behaviour.ratings(layout.thingsplus(tmp_path))
    assert list(cube.stimulus.values) == list(CONCEPTS)
    assert cube.label_Word.values[2] == cube.label_Word.values[3] == "camera"
    assert cube.sel(stimulus="camera2").values.ravel().tolist() == [3, -3.5]


def test_csv__numbers_are_measures_and_texts_are_labels(tmp_path):
    cube = behaviour.csv_by_stimulus(layout.scores(tmp_path))
    assert list(cube[UNIT].values) == ["rating", "speed"]
    assert list(cube.label_group.values[:3]) == ["a", "b", "a"]
    assert np.isnan(cube.sel(stimulus="pic003", unit="speed").item())
    assert cube.sel(stimulus="pic004").values.ravel().tolist() == [4, 0.5]


def test_csv__takes_any_key_and_spelling(tmp_path):
    file = tmp_path / "mine.tsv"
    file.write_text("where\tx\nimages\\dog\\dog_12s.jpg\t1\n./cat/cat_01b.jpg\t2\n")
    cube = behaviour.csv_by_stimulus(file, "where", spelling=stem_of, units="points")
    assert list(cube.stimulus.values) == ["dog_12s", "cat_01b"]
    assert cube.attrs["units"] == "points"
    assert cube.attrs["dataset"] == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scores.csv is empty"),
        ("stimulus,x\n", "has a header but no rows"),
        ("stimulus,x\na,1\na,2\n", "1 repeated ids, such as 'a'"),
        ("stimulus,x\na,1\n,2\n", "empty"),
        ("stimulus,x\na,1\nb\n", "line 3 has 1 cells; wanted 2"),
        ("stimulus,x\na,1\nb,2,3\n", "line 3 has 3 cells; wanted 2"),
        ("stimulus,x\na,one\nb,two\n", "no column of numbers"),
        ("stimulus,x\na,inf\nb,2\n", "no column of numbers"),
        ("stimulus,x\na,\nb,\n", "no column of numbers"),
        ("name,x\na,1\n", "no column of stimuli; name one of"),
        ("stimulus,x,x\na,1,2\n", "two columns named 'x'"),
        ("stimulus,x\na,1\nb,2", "ends inside a line"),
        ('stimulus,x\n"a,1\nb,2\n', "cannot be read as a table"),
    ],
)
def test_csv__refuses_another_content(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        behaviour.csv_by_stimulus(tmp_path)
    assert "scores.csv" in str(caught.value)


def test_csv__asked_for_measures_must_be_numbers(tmp_path):
    layout.scores(tmp_path)
    with pytest.raises(InputError, match="'group' is 'a' in row 1; wanted a number"):
        behaviour.csv_by_stimulus(tmp_path, measures=["group"])
    with pytest.raises(InputError, match=r"no column 'ratings'.*Is 'rating' the same"):
        behaviour.csv_by_stimulus(tmp_path, measures=["ratings"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"image_nr,", b"nr,", "no column 'image_nr'"),
        (b"\r\n7,", b"\r\n8,", "image_nr is not the place"),
        (b"\r\n7,", b"\r\n7.5,", "wanted an integer"),
        (b"\r\n1,air_conditioner_01b.jpg", b"\r\n1,air_conditioner_02s.jpg", "differ in row 1"),
        (b"images/bat1/bat1_01b", b"images/bat1/bat1_1b", "names no THINGS image"),
        (b",NaN", b",-inf", "'cr' is '-inf' in row"),
    ],
)
def test_memorability__refuses_another_content(tmp_path, old, new, message):
    file = layout.memorability(tmp_path) / behaviour.MEMORABILITY_FILE
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        behaviour.memorability(tmp_path)
    assert file.name in str(caught.value)


def test_concepts__refuse_an_empty_label(tmp_path):
    file = layout.concepts(tmp_path) / behaviour.CONCEPTS_FILE
    file.write_bytes(file.read_bytes().replace(b",0,NA,", b",0,,", 1))
    with pytest.raises(InputError, match="category_label is empty in row 1; no category is written NA"):
        behaviour.concepts(tmp_path)


@pytest.mark.parametrize(
    ("write", "read", "file"),
    [
        (layout.memorability, behaviour.memorability, behaviour.MEMORABILITY_FILE),
        (layout.concepts, behaviour.concepts, behaviour.CONCEPTS_FILE),
        (layout.thingsplus, behaviour.ratings, behaviour.RATINGS_FILE),
        (layout.scores, behaviour.csv_by_stimulus, behaviour.SCORES_FILE),
    ],
)
def test_files__malformed_end_in_an_error_or_a_cube(tmp_path, write, read, file):
    write(tmp_path)
    assert survive(lambda: {"scores": read(tmp_path)}, tmp_path / file, count=35) >= 7
