import numpy as np
import pytest
import xarray as xr

from stores import align
from stores.dims import CUBE, STIMULUS
from stores.errors import InputError
from stores.readers.things_stems import (
    concept_numbers,
    concept_of,
    image_numbers,
    stem_of,
    with_image_numbers,
)
from tests.layouts.things_stimuli import CONCEPTS, spellings, stems


@pytest.mark.parametrize("stem", ["aardvark_01b", "hot-air_balloon_03s", "coat_rack_13s", "bat1_12n"])
def test_stem_of__knows_every_spelling(stem):
    assert {stem_of(one) for one in spellings(stem)} == {stem}


@pytest.mark.parametrize(
    "text", ["", "catch008.jpg", "images_catch_meg/catch.jpg", "dog_1s.jpg", "dog_12x", "_12s", "dog_12s.mat"]
)
def test_stem_of__refuses_what_is_no_image(text):
    with pytest.raises(InputError, match="names no THINGS image"):
        stem_of(text)


def test_concept_of__keeps_digits_hyphens_and_underscores():
    assert {concept_of(one) for one in stems()} == set(CONCEPTS)
    assert concept_of("air_conditioner_02s") == "air_conditioner"


def test_numberings__differ_as_published():
    paper, plain = concept_numbers(CONCEPTS, "paper"), concept_numbers(CONCEPTS, "ascii")
    assert paper["camera_lens"] < paper["camera1"] < paper["camera2"]
    assert plain["camera1"] < plain["camera2"] < plain["camera_lens"]
    assert paper["hot_tub"] < paper["hot-air_balloon"]
    assert plain["hot-air_balloon"] < plain["hot_tub"]
    assert paper["ice_cube"] < paper["ice-cream_cone"]
    assert {name for name in CONCEPTS if paper[name] != plain[name]} == {
        *("camera1", "camera2", "camera_lens", "hot-air_balloon", "hot_tub", "ice-cream_cone", "ice_cube"),
    }
    assert sorted(image_numbers(stems(), "paper").values()) == list(range(1, len(stems()) + 1))


def test_numberings__refuse_duplicates_and_unknown_words():
    with pytest.raises(InputError, match="more than once"):
        image_numbers(["dog_01b", "dog_01b"], "paper")
    with pytest.raises(ValueError, match=r"choose one of \['ascii', 'paper'\]"):
        image_numbers(["dog_01b"], "python")


def cube(ids, values):
    return xr.DataArray(
        np.asarray(values, float).reshape(-1, 1, 1, 1),
        dims=CUBE,
        coords={
            STIMULUS: np.array(ids, object),
            "unit": np.array(["u"], object),
            "time": [0.0],
            "repeat": [0],
        },
    )


def test_join__by_stem_is_right_where_by_number_is_wrong():
    """Brain data numbered by the paper, scores numbered by ASCII: 91 of 157 images here have two numbers."""
    names = stems()
    truth = {stem: float(n) for n, stem in enumerate(names)}
    brain = with_image_numbers(
        cube(sorted(names, reverse=True), [truth[s] for s in sorted(names)[::-1]]), names
    )
    scores = with_image_numbers(cube(names, [truth[s] for s in names]), names)
    left, right = align(brain, scores)
    np.testing.assert_array_equal(left.values, right.values)
    by_number = dict(zip(scores.things_image_nr_ascii.values, scores.values.ravel(), strict=True))
    joined = np.array([by_number[n] for n in brain.things_image_nr_paper.values])
    wrong = joined != brain.values.ravel()
    differ = brain.things_image_nr_paper.values != brain.things_image_nr_ascii.values
    assert wrong.sum() == differ.sum() == 91
    assert not (wrong & ~differ).any()


def test_with_image_numbers__refuses_an_image_outside_the_database():
    with pytest.raises(InputError, match="such as 'dog_01b'"):
        with_image_numbers(cube(["dog_01b"], [1]), stems())
