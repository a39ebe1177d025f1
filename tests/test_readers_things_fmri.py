from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers import things_fmri
from stores.readers.trials import blocks, regions, storage
from tests.layouts import things_fmri as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

FILE = "sub-01_ResponseData.h5"
TRIALS, VOXELS = "sub-01_StimulusMetadata.csv", "sub-01_VoxelMetadata.csv"


class TestThingsFmri(ReaderTests):
    name = "things-fmri"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"sub-01/train": "fmri", "sub-01/test": "fmri"}


@pytest.fixture
def raw(tmp_path):
    return layout.write(tmp_path)


@pytest.fixture
def cubes(raw):
    return things_fmri.read(raw)


def test_table__keeps_every_value_at_its_voxel_and_image(cubes):
    train, test = cubes["sub-01/train"], cubes["sub-01/test"]
    assert train.shape == (32, layout.VOXELS, 1, 1)
    assert test.shape == (4, layout.VOXELS, 1, layout.SESSIONS)
    for cube in (train, test):
        for row, stem in enumerate(cube.stimulus.values):
            where = [n for n, one in enumerate(layout.trials()) if one[3] == stem]
            want = layout.value(np.arange(layout.VOXELS)[:, None], np.array(where)[None])
            np.testing.assert_array_equal(cube.values[row, :, 0], want)
            assert list(cube.trial.values[row]) == where
            assert list(cube.trial_session.values[row]) == [layout.trials()[n][0] for n in where]
            assert list(cube.trial_run.values[row]) == [layout.trials()[n][1] for n in where]


def test_table__labels_stimuli_by_stem(cubes):
    test = cubes["sub-01/test"]
    assert list(test.stimulus.values) == sorted(layout.TEST_STEMS)
    assert list(test.concept.values) == ["bat1", "coat_rack", "t-shirt", "zebra"]
    assert set(cubes["sub-01/train"].concept.values) == set(layout.CONCEPTS)


def test_table__keeps_overlapping_regions_and_everything_known_of_voxels(cubes):
    cube, v = cubes["sub-01/test"], np.arange(layout.VOXELS)
    assert list(cube.unit.values[:2]) == ["v000001", "v000004"]
    masks = [name for name in cube.coords if name.startswith("roi_")]
    assert len(masks) == len(layout.ROIS)
    for n, roi in enumerate(layout.ROIS):
        name = f"roi_{roi}".replace("\n", "").replace(" (prf)", "_prf")
        np.testing.assert_array_equal(cube[name], v % (n + 2) == 0)
    assert bool((cube.roi_V1 & cube["roi_glasser-V1"]).any())
    np.testing.assert_array_equal(np.stack([cube.x, cube.y, cube.z]), np.nonzero(layout.MASK))
    np.testing.assert_allclose(cube.nc_testset, v * 2.0)
    np.testing.assert_allclose(cube.prf_polarangle, v * 9.0)
    assert not [name for name in cube.coords if "\n" in name or " " in name]


def test_table__never_touches_the_pickles(raw, monkeypatch):
    touched = []
    real = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, *a, **k: touched.append(self.name) or real(self, *a, **k)
    )
    for cube in things_fmri.read(raw).values():
        cube.compute()
    assert set(touched) == {"/ResponseData/block0_values", "/ResponseData/block1_values"}


def test_table__finds_the_numbers_under_any_name(raw):
    with h5py.File(raw / FILE, "r+") as file:
        file.move("ResponseData/block0_values", "ResponseData/block7_values")
    assert things_fmri.read(raw)["sub-01/train"].values[0, 1, 0, 0] >= 1000


def test_table__other_trials_are_dropped_and_said(raw):
    table = pd.read_csv(raw / TRIALS)
    catch = table["trial_id"] == 0
    table.loc[catch, ["trial_type", "stimulus"]] = ["catch", "catch008.jpg"]
    table.to_csv(raw / TRIALS, index=False)
    cube = things_fmri.read(raw)["sub-01/train"]
    assert cube.sizes[STIMULUS] == 31
    assert cube.attrs["dropped"] == {"trials of another type": 1}


def test_table__import_reads_each_byte_once(raw, tmp_path, monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**8)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**7)
    cube = things_fmri.read(raw)["sub-01/test"]
    seen = []
    real = h5py.Dataset.__getitem__

    def spy(self, key, *args, **kwargs):
        if self.name.endswith("block0_values"):
            seen.extend(range(key.start, key.stop))
        return real(self, key, *args, **kwargs)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    root = tmp_path / "store"
    with stores.writing(root, "fmri", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        assert len(where) > 1
        fill({"fmri": target}, [Block({"fmri": one}) for one in where], lazy_source(cube, "fmri"))
    assert sorted(seen) == list(range(layout.VOXELS))
    np.testing.assert_array_equal(stores.open_cube(root, "fmri").values, cube.values)


@pytest.mark.parametrize("shape", [(8640, 211339, 1, 1), (100, 211339, 1, 12)])
def test_table__sizes_of_the_real_file_make_bearable_blocks(shape):
    chunks = blocks(shape, np.float32, whole=[STIMULUS, REPEAT], slow=UNIT)
    assert np.prod([one[0] for one in chunks]) * 4 < 100 * 2**20
    assert (chunks[0], chunks[3]) == ((shape[0],), (shape[3],))


def edit(raw, file, change):
    table = pd.read_csv(raw / file, dtype=str, keep_default_na=False)
    change(table).to_csv(raw / file, index=False)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (TRIALS, lambda t: t.drop(columns="stimulus"), "no column 'stimulus'"),
        (TRIALS, lambda t: t.iloc[:-1], "trial_id is not each of 0 to 38|blocks of real numbers"),
        (TRIALS, lambda t: t.assign(trial_id="3"), "trial_id is not each of 0 to 39 once"),
        (TRIALS, lambda t: t.assign(trial_type="exp"), "trial_type is never 'train'"),
        (TRIALS, lambda t: t.assign(session="one"), "'session' is 'one' in row 1"),
        (TRIALS, lambda t: t.assign(run="1.5"), "'run' is '1.5' in row 1; wanted an integer"),
        (TRIALS, lambda t: t.assign(stimulus="zebra_14s.jpg"), "1 images are of both train and test"),
        (TRIALS, lambda t: t.assign(stimulus="dog.jpg"), "'dog.jpg' names no THINGS image"),
        (VOXELS, lambda t: t.drop(columns="voxel_x"), "no column 'voxel_x'"),
        (VOXELS, lambda t: t.iloc[:-1], r"blocks of real numbers of shape \(39, 40\)"),
        (VOXELS, lambda t: t.iloc[::-1], "voxel_id has other values or another order"),
        (VOXELS, lambda t: t.assign(V1="2"), "region 'V1' holds values other than 0 and 1"),
        (VOXELS, lambda t: t.assign(V1=""), "region 'V1' holds values other than 0 and 1"),
        (VOXELS, lambda t: t.assign(nc_testset="inf"), "'nc_testset' holds something other than finite"),
        (VOXELS, lambda t: t.assign(nc_testset="high"), "'nc_testset' holds something other than finite"),
        (VOXELS, lambda t: t.rename(columns={"V2": "V1"}), "two columns named 'V1'"),
    ],
)
def test_table__refuses_another_content(raw, file, change, message):
    edit(raw, file, change)
    with pytest.raises(InputError, match=message) as caught:
        things_fmri.read(raw)
    assert "sub-01_" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("block0_values", lambda a: a.astype(int), "0 blocks of real numbers"),
        ("block0_values", lambda a: a[:, :30], "0 blocks of real numbers"),
        ("block0_values", lambda a: None, "it has none"),
        ("block1_values", lambda a: a * 0, "negative or repeated ids"),
        ("block1_values", lambda a: a[::-1], "voxel_id has other values or another order"),
        ("block1_values", lambda a: a.astype(float), "0 blocks of 40 whole numbers"),
    ],
)
def test_responses__of_another_content_are_refused(raw, name, make, message):
    with h5py.File(raw / FILE, "r+") as file:
        new = make(file["ResponseData"][name][()])
        del file["ResponseData"][name]
        if new is not None:
            file["ResponseData"][name] = new
    with pytest.raises(InputError, match=message):
        things_fmri.read(raw)


def test_responses__infinite_ones_are_refused_when_read(raw):
    with h5py.File(raw / FILE, "r+") as file:
        file["ResponseData/block0_values"][3, 5] = np.inf
    with pytest.raises(InputError, match=r"ResponseData.h5: ResponseData/block0_values holds 1 infinite"):
        things_fmri.read(raw)["sub-01/train"].compute()


@pytest.mark.parametrize("file", [FILE, TRIALS, VOXELS])
def test_files__malformed_end_in_an_error_or_a_cube(raw, file):
    blamed = "sub-01_" if file.endswith("csv") else ""
    assert survive(lambda: things_fmri.read(raw), raw / file, blamed=blamed) >= 7
