import os
import pickle
from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS, TIME
from stores.errors import InputError
from stores.readers.things_eeg2 import read
from stores.readers.unpickle import unpickled
from tests.layouts import things_eeg2 as layout
from tests.test_readers import ReaderTests


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


class TestThingsEeg2(ReaderTests):
    name = "things_eeg2"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"train": "eeg_epochs", "test": "eeg_epochs"}

    def read(self, path):
        return read(path, allow_pickle=True)

    # Each reading of a spoilt file starts an interpreter: fewer of them here.
    @pytest.mark.parametrize("share", [0.02, 0.9])
    def test_reader__refuses_truncated_files(self, raw, tmp_path, share):
        super().test_reader__refuses_truncated_files(raw, tmp_path, share)

    @pytest.mark.slow
    def test_reader__never_fails_in_a_foreign_way(self, raw, tmp_path):
        super().test_reader__never_fails_in_a_foreign_way(raw, tmp_path)


def test_eeg2__every_value_is_at_its_place(tmp_path):
    found = read(layout.write(tmp_path), allow_pickle=True)
    for split, cube in found.items():
        assert cube.chunks is not None
        np.testing.assert_allclose(cube.values, layout.data(split).transpose(0, 2, 3, 1), rtol=1e-6)
        assert list(cube[STIMULUS].values) == [one.removesuffix(".jpg") for one in layout.files(split)]
        assert cube["concept"].values[1] == "air_conditioner"
        assert cube["things_concept_nr_ascii"].values[1] == 2
        np.testing.assert_array_equal(cube[TIME], np.round(np.arange(100) * 0.01 - 0.2, 2))


def test_eeg2__is_refused_unless_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"image_metadata\.npy is a pickle.*allow_pickle=True"):
        read(layout.write(tmp_path))


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr])
def test_unpickled__runs_no_code(tmp_path, function):
    mark = tmp_path / "ran"
    text = f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')"
    np.save(tmp_path / "x.npy", {"a": Evil(function, text)})
    with pytest.raises(InputError, match=r"x\.npy holds more than arrays.*it asks for"):
        unpickled(tmp_path / "x.npy", True)
    assert not mark.exists()


@pytest.mark.parametrize("value", [[1], {"a": {1, 2}}, {"a": b"x"}, np.zeros(3)])
def test_unpickled__refuses_what_is_no_dict_of_plain_values(tmp_path, value):
    np.save(tmp_path / "x.npy", np.array(value, object) if not isinstance(value, np.ndarray) else value)
    with pytest.raises(InputError, match=r"x\.npy"):
        unpickled(tmp_path / "x.npy", True)


def test_unpickled__gives_arrays_as_files_and_the_rest_as_it_is(tmp_path):
    np.save(tmp_path / "x.npy", {"a": np.arange(6).reshape(2, 3), "b": ["x", 1, None], "c": {1: "V1"}})
    found = unpickled(tmp_path / "x.npy", True, tmp_path / "scratch")
    np.testing.assert_array_equal(np.load(found["a"]), np.arange(6).reshape(2, 3))
    assert (found["b"], found["c"]) == (["x", 1, None], {"1": "V1"})
    (tmp_path / "y.npy").write_bytes((tmp_path / "x.npy").read_bytes() + pickle.dumps(1))
    with pytest.raises(InputError, match=r"y\.npy cannot be read.*more follows"):
        unpickled(tmp_path / "y.npy", True)


@pytest.mark.parametrize(
    ("changes", "meta", "why"),
    [
        ({"times": layout.TIMES[:-1]}, {}, "99 times"),
        ({"ch_names": layout.CHANNELS[:-1]}, {}, "16 ch_names"),
        ({"ch_names": ["O1"] * 17}, {}, "ch_names has 16 repeated ids, such as 'O1'"),
        (
            {"preprocessed_eeg_data": np.zeros((30, 17, 100))},
            {},
            r"preprocessed_eeg_data is .*\(30, 17, 100\)",
        ),
        ({"preprocessed_eeg_data": [1]}, {}, "wanted arrays"),
        ({}, {"train_img_files": layout.files("train")[:-1]}, "29 images"),
        ({}, {"train_img_files": ["a_01s.jpg"] * 30}, "train_img_files has 29 repeated ids"),
        ({}, {"train_img_concepts": ["aardvark"] * 30}, "'aardvark' has no number"),
    ],
)
def test_eeg2__refuses_what_does_not_fit(tmp_path, changes, meta, why):
    with pytest.raises(InputError, match=why):
        read(layout.write(tmp_path, changes, **meta), allow_pickle=True)


def test_eeg2__an_infinite_value_is_refused_when_it_is_read(tmp_path):
    spoilt = layout.data("train")
    spoilt[3, 2, 1, 0] = np.inf
    layout.write(tmp_path)
    np.save(tmp_path / "preprocessed_eeg_training.npy",
            {"preprocessed_eeg_data": spoilt, "ch_names": layout.CHANNELS, "times": layout.TIMES})  # fmt: skip
    with pytest.raises(InputError, match="holds 1 infinite"):
        read(tmp_path, allow_pickle=True)["train"].compute()
