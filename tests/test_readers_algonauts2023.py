import os
import shutil
from typing import ClassVar

import numpy as np
import pytest

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.algonauts2023 import Hemispheres, read
from stores.readers.npy import Stored, header
from tests.layouts import algonauts2023 as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

FMRI = "training_split/training_fmri"
IMAGES = "training_split/training_images"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "algonauts-cache"))


class TestAlgonauts2023(ReaderTests):
    name = "algonauts2023"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"train": "fmri"}

    def files(self, raw):
        """Of the images only the names are read, and of the mappings nothing, unless it is asked for."""
        return [one for one in super().files(raw) if one.suffix != ".png" and "mapping" not in one.name]

    def test_reader__finds_the_files_it_names(self, raw):
        self.files = lambda path: ReaderTests.files(self, path)
        super().test_reader__finds_the_files_it_names(raw)


@pytest.fixture
def folder(tmp_path):
    return layout.write(tmp_path)


def test_algonauts__every_response_is_at_its_image_and_vertex(folder):
    cube = read(folder)["train"]
    assert cube.chunks is not None
    assert cube.shape == (7, 11, 1, 1)
    assert list(cube[STIMULUS].values) == [f"nsd{one:05d}" for one in layout.NSD]
    for row, image in enumerate(cube[STIMULUS].values):
        for unit in cube[UNIT].values:
            side, vertex = unit.split("_v")
            got = cube.sel({STIMULUS: image, UNIT: unit}).values
            assert got == layout.value(row, int(vertex), side)
    assert list(cube["nsd_id"].values) == layout.NSD
    assert cube["file"].values[2] == "train-0003_nsd-72999"
    assert set(cube["split"].values) == {"train"}
    assert list(cube["vertex"].values) == layout.VERTICES["lh"] + layout.VERTICES["rh"]
    assert list(cube["hemisphere"].values) == ["left"] * 5 + ["right"] * 6
    np.testing.assert_array_equal(cube["noise_ceiling"], cube["vertex"] / 64)
    assert (cube.attrs["subject"], cube.attrs["units"]) == ("subj01", "z")
    assert cube.attrs["dropped"]["test images, whose responses are withheld"] == 3


@pytest.mark.parametrize("step", [1, 4, 5, 6, 11])
def test_algonauts__blocks_of_any_size_hold_the_same(folder, step):
    files = [folder / f"{FMRI}/{side}_training_fmri.npy" for side in layout.VERTICES]
    parts = Hemispheres(tuple(Stored(one, "", header(one), (0, 1, None, None), "float32") for one in files))
    want = np.concatenate([layout.responses(side) for side in layout.VERTICES], axis=1)
    for start in range(0, 11, step):
        units = slice(start, min(11, start + step))
        got = parts((slice(2, 5), units, slice(0, 1), slice(0, 1)))
        np.testing.assert_array_equal(got[:, :, 0, 0], want[2:5, units])


def test_algonauts__regions_overlap_and_have_names_if_pickles_are_allowed(folder):
    plain, named = read(folder)["train"], read(folder, allow_pickle=True)["train"]
    both = {kind: layout.CODES["lh"][kind] + layout.CODES["rh"][kind] for kind in layout.NAMES}
    for kind, codes in both.items():
        for code, name in layout.NAMES[kind].items():
            if code == 0 or code not in codes:
                assert f"roi_{name}" not in named.coords
            else:
                for cube, coord in ((plain, f"roi_{kind}_{code}"), (named, f"roi_{name}")):
                    np.testing.assert_array_equal(cube[coord], np.array(codes) == code)
    assert int((named["roi_OFA"] & named["roi_early"]).sum()) == 0
    assert int((named["roi_OFA"] & named["roi_ventral"]).sum()) == 2
    assert "names of regions, pickled (allow_pickle=True reads them)" not in named.attrs["dropped"]
    assert plain.attrs["dropped"]["names of regions, pickled (allow_pickle=True reads them)"] == 2
    assert {one["file"] for one in named.attrs["sources"]} >= {"mapping_streams.npy", "lh_noise_ceiling.npy"}


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_algonauts__runs_no_code_of_a_mapping(folder, tmp_path):
    np.save(folder / "roi_masks/mapping_streams.npy", {1: Evil(tmp_path / "ran")})
    read(folder)
    with pytest.raises(InputError, match=r"mapping_streams\.npy holds more than arrays"):
        read(folder, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({0: "Unknown", 1: "early"}, "has no name for the code 5 of streams"),
        ({0: "Unknown", 1: "early", 5: "OFA"}, "'OFA' is the name of two regions"),
        ({"early": 1, "ventral": 5}, "is no mapping of codes to names"),
        ({1: "early", 5: ""}, "is no mapping of codes to names"),
    ],
)
def test_algonauts__refuses_mappings_that_do_not_fit(folder, mapping, why):
    np.save(folder / "roi_masks/mapping_streams.npy", mapping)
    with pytest.raises(InputError, match=r"mapping_streams\.npy.*" + why):
        read(folder, allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        (f"{FMRI}/rh_training_fmri.npy", layout.responses("rh")[:-1], "wanted .* of the 7 training images"),
        (f"{FMRI}/rh_training_fmri.npy", layout.responses("rh").T, "wanted .* of the 7 training images"),
        (f"{FMRI}/rh_training_fmri.npy", layout.responses("rh")[:, :-1], r"has 5\. Is it of another subject"),
        (f"{FMRI}/lh_training_fmri.npy", np.array({"a": 1}), "pickled"),
        ("roi_masks/lh.all-vertices_fsaverage_space.npy", layout.fsaverage("rh"), "6 vertices; .* has 5"),
        ("roi_masks/lh.all-vertices_fsaverage_space.npy", layout.fsaverage("lh") * 2, "marks 5 vertices"),
        ("roi_masks/rh.streams_challenge_space.npy", np.zeros(5, int), "has 5 vertices; .* has 6"),
        ("roi_masks/rh.streams_challenge_space.npy", np.full(6, 0.5), "wanted one whole number per vertex"),
        (
            "roi_masks/rh.streams_challenge_space.npy",
            np.full(6, np.nan),
            "wanted one whole number per vertex",
        ),
        ("roi_masks/rh.streams_challenge_space.npy", np.full(6, 1e300), "beyond any code"),
        (
            "roi_masks/rh.streams_challenge_space.npy",
            np.arange(6),
            "differ: one of them is of another subject",
        ),
        ("test_split/noise_ceiling/lh_noise_ceiling.npy", np.zeros(6), "wanted one number per vertex"),
        ("test_split/noise_ceiling/lh_noise_ceiling.npy", np.full(5, np.inf), "5 infinite values"),
    ],
)
def test_algonauts__refuses_arrays_that_do_not_fit(folder, name, values, why):
    np.save(folder / name, values)
    with pytest.raises(InputError, match=why) as caught:
        read(folder)
    assert name.rsplit("/", 1)[1].split(".npy")[0].removeprefix("lh_").removeprefix("rh_") in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("train-0003_nsd-72999.png", "", "none of row 3"),
        ("train-0003_nsd-72999.png", "train-0003_nsd-00013.png", "1 repeated ids, such as 'nsd00013'"),
        ("train-0003_nsd-72999.png", "train-0004_nsd-72999.png", "second image of row 4"),
        ("train-0003_nsd-72999.png", "train-0008_nsd-72999.png", "none of row 3"),
        ("train-0003_nsd-72999.png", "dog_01b.png", "is no image of this dataset"),
    ],
)
def test_algonauts__refuses_images_that_do_not_fit(folder, old, new, why):
    image = folder / IMAGES / old
    if new:
        image.rename(image.with_name(new))
    else:
        image.unlink()
    with pytest.raises(InputError, match=why):
        read(folder)


def test_algonauts__infinite_responses_are_refused_and_missing_ones_stay(folder):
    file = folder / f"{FMRI}/lh_training_fmri.npy"
    spoilt = layout.responses("lh")
    spoilt[:, 2] = np.nan
    np.save(file, spoilt)
    cube = read(folder)["train"].compute()
    assert list(cube[UNIT].values[np.isnan(cube.values).all(axis=(0, 2, 3))]) == ["lh_v000011"]
    spoilt[3, 1] = np.inf
    np.save(file, spoilt)
    with pytest.raises(InputError, match=r"lh_training_fmri\.npy: its array holds 1 infinite"):
        read(folder)["train"].compute()


def test_algonauts__masks_and_ceilings_may_be_absent(folder):
    for one in (folder / "roi_masks").glob("*streams*"):
        one.unlink()
    shutil.rmtree(folder / "test_split")
    cube = read(folder)["train"]
    assert "noise_ceiling" not in cube.coords
    assert [name for name in cube.coords if str(name).startswith("roi_")] == [
        f"roi_floc-faces_{code}" for code in (1, 2, 4)
    ]
    (folder / "roi_masks/rh.floc-faces_challenge_space.npy").unlink()
    with pytest.raises(InputError, match=r"holds no file rh\.floc-faces_challenge_space\.npy"):
        read(folder)


@pytest.mark.parametrize("name", [f"{FMRI}/lh_training_fmri.npy", "roi_masks/lh.streams_challenge_space.npy"])
def test_algonauts__survives_malformed_files(folder, name):
    assert survive(lambda: read(folder), folder / name, 60) > 25


def test_algonauts__survives_malformed_mappings(folder):
    file = folder / "roi_masks/mapping_streams.npy"
    assert survive(lambda: read(folder, allow_pickle=True), file, 7, compute=False) > 3
