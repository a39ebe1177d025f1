import pickle
import unicodedata

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stores.align import align
from stores.dims import CUBE, STIMULUS, UNIT
from stores.errors import AlignError
from stores.stimuli import read_folder


def cube(ids, *, name=None, chunks=None):
    """A cube whose every value is the checksum of its stimulus id, so that a wrong join shows."""
    values = np.array([sum(str(one).encode()) for one in ids], float).reshape(-1, 1, 1, 1)
    if chunks:
        values = da.from_array(values, chunks=(chunks, 1, 1, 1))
    return xr.DataArray(
        values, dims=CUBE, coords={STIMULUS: np.array([*ids], object), UNIT: ["u0"]}, name=name
    )


def ids_of(one):
    return list(one.indexes[STIMULUS])


NUMBERED = [f"img{n}" for n in range(1, 121)]


def test_align__joins_by_id_where_lexicographic_order_renumbers():
    # img1, img10, img100, img11 ...: what a folder listing does to numbered files.
    natural, lexicographic = cube(NUMBERED), cube(sorted(NUMBERED))
    assert ids_of(natural) != ids_of(lexicographic)
    a, b = align(natural, lexicographic)
    assert a.identical(natural)
    assert b.identical(natural)


def test_align__keeps_the_order_of_the_first_cube():
    a, b, c = align(cube(["d", "b", "a", "x"]), cube(["a", "b", "c", "d"]), cube(["b", "d", "a"]))
    assert ids_of(a) == ids_of(b) == ids_of(c) == ["d", "b", "a"]


def test_align__reports_what_was_dropped_and_why():
    report = align(
        cube(["a", "b", "c"], name="brain"), cube(["b", "c", "d", "e", "f", "g"], name="net")
    ).report
    assert report.kept == 2
    assert report.order == "cube 1 (brain)"
    left, right = report.dropped
    assert (left.cube, left.count, left.examples) == ("cube 1 (brain)", 1, ("a",))
    assert left.absent_from == ("cube 2 (net)",)
    assert (right.cube, right.count, right.examples) == ("cube 2 (net)", 4, ("d", "e", "f"))
    assert "4 dropped, absent from cube 1 (brain)" in str(report)


def test_align__tells_apart_where_stimuli_are_absent():
    report = align(cube("abcd"), cube("abc"), cube("abd")).report
    first = [(one.count, one.absent_from) for one in report.dropped if one.cube == "cube 1"]
    assert first == [(1, ("cube 2",)), (1, ("cube 3",))]


def test_align__returns_a_fitting_cube_as_it_is():
    one, other = cube("abc", chunks=2), cube("cab", chunks=2)
    a, b = align(one, other)
    assert a is one
    assert ids_of(b) == ["a", "b", "c"]


def test_align__is_lazy(computing_forbidden):
    with computing_forbidden():
        a, b = align(cube(NUMBERED, chunks=7), cube(sorted(NUMBERED)[5:], chunks=11))
    assert b.chunks is not None
    np.testing.assert_array_equal(a.values, b.values)


def test_align__exact_accepts_another_order_and_refuses_another_set():
    a, b = align(cube("abc"), cube("cba"), how="exact")
    assert ids_of(b) == ids_of(a)
    with pytest.raises(AlignError, match=r"cube 2: 1 dropped, absent from cube 1, such as \['d'\]"):
        align(cube("abc"), cube("abcd"), how="exact")


def test_align__left_drops_only_from_the_others():
    a, b = align(cube("ca"), cube("abcd"), how="left")
    assert ids_of(b) == ids_of(a) == ["c", "a"]
    with pytest.raises(AlignError, match=r"cube 1: 1 dropped.*\['b'\]"):
        align(cube("ab"), cube("a"), how="left")


def test_align__refuses_duplicates():
    with pytest.raises(AlignError, match=r"cube 2.*1 ids of 'stimulus' are not unique, such as \['a'\]"):
        align(cube("ab"), cube("aba"))


@pytest.mark.parametrize(
    "ids",
    [[1, 2, 3], ["a", 2, "c"], [1.0, 2.0, 3.0], ["a", None, "c"], pd.Index(["a", None, "c"], dtype="str")],
)
def test_align__refuses_ids_that_are_not_strings(ids):
    with pytest.raises(AlignError, match="cube 2 cannot be joined by id"):
        align(cube("abc"), cube(ids))


@pytest.mark.parametrize("dtype", ["str", "string"])
def test_align__refuses_ids_that_are_missing(dtype):
    gaps = [cube("abc").assign_coords({STIMULUS: pd.Index([one, None, "c"], dtype=dtype)}) for one in "ab"]
    with pytest.raises(AlignError, match="cube 1 cannot be joined by id: 1 ids of 'stimulus' are missing"):
        align(*gaps)


def test_align__refuses_a_cube_without_ids():
    with pytest.raises(AlignError, match="no ids"):
        align(cube("abc").drop_vars(STIMULUS))
    with pytest.raises(AlignError, match="only cubes with a 'stimulus' axis"):
        align(xr.DataArray(np.zeros(3), dims="pair"))


def test_align__refuses_nothing_in_common():
    with pytest.raises(
        AlignError, match=r"no stimulus is in every cube(.|\n)*cube 1: 2 dropped.*\['a', 'b'\]"
    ):
        align(cube("ab"), cube("cd"))
    with pytest.raises(AlignError, match="at least one"):
        align()


@pytest.mark.parametrize(
    ("theirs", "hint"),
    [
        ("dog_12s.jpg", "file extension"),
        ("Dog_12s", "upper and lower case"),
        ("dog/dog_12s", "folder prefix"),
        ("dog/dog_12s.jpg", "folder prefix and file extension"),
        (r"stimuli\dog\dog_12s.JPEG", "folder prefix and file extension"),
        ("dog_12s ", "white space around it"),
    ],
)
def test_align__hints_at_near_misses(theirs, hint):
    with pytest.raises(AlignError, match=f"differ only in {hint}\\)"):
        align(cube(["dog_12s"]), cube([theirs]))
    # With something in common the join goes on, and the report says the same.
    report = align(cube(["dog_12s", "cat"]), cube([theirs, "cat"])).report
    assert all(f"differ only in {hint}" in one.hint for one in report.dropped)


def test_align__hints_at_unicode_forms():
    with pytest.raises(AlignError, match=r"1 would match if spelled alike.*Unicode normal form"):
        align(cube(["crème_01b"]), cube([unicodedata.normalize("NFD", "crème_01b")]))


def test_align__gives_no_hint_where_ids_are_simply_other():
    with pytest.raises(AlignError) as caught:
        align(cube(["dog_12s"]), cube(["dog_13s"]))
    assert "spelled" not in str(caught.value)


def test_align__refuses_an_unknown_how():
    with pytest.raises(ValueError, match="how='outer'; choose one of 'inner'"):
        align(cube("a"), how="outer")


def test_aligned__survives_pickling():
    joined = pickle.loads(pickle.dumps(align(cube("abc"), cube("bcd"))))
    assert joined.report.kept == 2
    assert len(joined) == 2


ids = st.lists(st.text("abcdé/. ", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(first=ids, second=ids, order=st.randoms(use_true_random=False))
def test_align__permuting_a_later_cube_changes_nothing(first, second, order):
    if not set(first) & set(second):
        with pytest.raises(AlignError):
            align(cube(first), cube(second))
        return
    shuffled = order.sample(second, len(second))
    a, b = align(cube(first), cube(second))
    c, d = align(cube(first), cube(shuffled))
    assert a.identical(c)
    assert b.identical(d)
    assert ids_of(a) == [one for one in first if one in second]
    np.testing.assert_array_equal(a.values, b.values)
    back, _ = align(cube(shuffled), cube(first))
    assert set(ids_of(back)) == set(ids_of(a))


def test_align__joins_pictures_brains_and_scores(tmp_path):
    ids = [f"dog_{n:02d}s" for n in range(1, 7)]
    for n, one in enumerate(ids):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(tmp_path / f"{one}.png")
    folder = read_folder(tmp_path)
    brain, scores = cube(["dog_05s", "cat_01b", "dog_02s"]), cube(["dog_02s", "dog_05s", "dog_06s"])
    joined = align(brain, folder, scores)
    pictures = joined[1]
    assert ids_of(joined[0]) == list(pictures.ids) == ids_of(joined[2]) == ["dog_05s", "dog_02s"]
    assert [int(one()[0, 0, 0]) for one in pictures.pictures(0, 2)] == [4, 1]
    assert pictures.digest != folder.digest
    assert "cube 2: 3 dropped, absent from cube 1 and cube 3" in str(joined.report)
    assert align(folder, how="exact")[0] is folder
    with pytest.raises(AlignError, match="cube 2: 5 dropped"):
        align(cube(["dog_05s"]), folder, how="exact")
