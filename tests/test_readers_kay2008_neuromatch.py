from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.images import pixels_of
from stores.readers.kay2008_neuromatch import read
from tests.layouts import kay2008_neuromatch as layout
from tests.test_readers import ReaderTests


class TestKay2008Neuromatch(ReaderTests):
    name = "kay2008_neuromatch"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {
        "train": "fmri", "images/train": "images", "test": "fmri", "images/test": "images"
    }  # fmt: skip


def test_neuromatch__regions_have_the_published_counts(tmp_path):
    cube = read(layout.write(tmp_path))["train"]
    found = dict(zip(*np.unique(cube["region"].values.astype(str), return_counts=True), strict=True))
    assert found == {name: n for name, n in zip(layout.NAMES, layout.COUNTS, strict=True) if n}


def test_neuromatch__every_value_and_label_is_at_its_place(tmp_path):
    found, want = read(layout.write(tmp_path)), layout.arrays()
    for split, ending in (("train", ""), ("test", "_test")):
        cube, images = found[split], found[f"images/{split}"]
        assert cube.chunks is not None
        np.testing.assert_array_equal(cube.values[:, :, 0, 0], want[f"responses{ending}"])
        np.testing.assert_array_equal(pixels_of(images)[..., 0], want[f"stimuli{ending}"])
        assert cube["label_4"].values[2] == images["label_4"].values[2] == "level3_image2"
        assert list(cube[STIMULUS].values) == list(images[STIMULUS].values)


def test_neuromatch__works_without_labels(tmp_path):
    assert "label_1" not in read(layout.write(tmp_path, labels=False))["train"].coords


PICKLED = np.array([{"a": 1}], object)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roi": None}, "no array roi"),
        ({"roi": PICKLED}, "roi holds pickled Python objects"),
        ({"responses": PICKLED}, "responses holds pickled Python objects"),
        ({"roi": np.zeros(5, int)}, "responses is"),
        ({"roi": np.full(8428, 9)}, "roi has codes from 9 to 9"),
        ({"roi": np.zeros(8428)}, "roi is float64"),
        ({"responses": np.zeros((6, 8428), int)}, "responses is int64"),
        ({"stimuli": np.zeros((5, 8, 8))}, "stimuli has 5 pictures"),
        ({"stimuli": np.full((6, 8, 8), np.inf)}, "stimuli holds 384 infinite"),
        ({"stimuli_test": np.zeros((6, 8))}, "stimuli_test is"),
    ],
)
def test_neuromatch__refuses_what_does_not_fit(tmp_path, changes, why):
    with pytest.raises(InputError, match=why) as caught:
        read(layout.write(tmp_path, changes))
    assert "kay_images.npz" in str(caught.value)


def test_neuromatch__an_infinite_response_is_refused_when_it_is_read(tmp_path):
    spoilt = layout.arrays()["responses"]
    spoilt[2, 5] = -np.inf
    with pytest.raises(InputError, match="responses holds 1 infinite"):
        read(layout.write(tmp_path, {"responses": spoilt}))["train"].compute()


def test_neuromatch__refuses_labels_of_another_count(tmp_path):
    layout.write(tmp_path)
    np.save(tmp_path / "kay_labels.npy", np.array([["a"] * 5] * 4))
    with pytest.raises(InputError, match=r"kay_labels\.npy is <U1 \(4, 5\)"):
        read(tmp_path)
