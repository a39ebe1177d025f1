import shutil
from typing import ClassVar

import h5py
import mne
import numpy as np
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import things_meg
from stores.readers.fif import chain
from stores.readers.trials import blocks, regions, storage
from tests.layouts import things_meg as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

PARTS = [f"preprocessed_P1-epo{n}.fif" for n in ("", "-1", "-2", "-3")]


class TestThingsMeg(ReaderTests):
    name = "things-meg"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"P1/train": "meg_epochs", "P1/test": "meg_epochs"}

    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)


class TestThingsMegCosmo(ReaderTests):
    name = "things-meg-cosmo"
    write = staticmethod(layout.write_cosmo)
    cubes: ClassVar[dict[str, str]] = {"P1/train": "meg_epochs", "P1/test": "meg_epochs"}

    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return layout.write(layout.write_cosmo(tmp_path_factory.mktemp("meg")))


@pytest.fixture
def folder(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "meg")


@pytest.mark.parametrize("read", [things_meg.read, things_meg.read_cosmo])
def test_meg__keeps_every_value_at_its_image_sensor_and_time(raw, read):
    cubes = read(raw)
    train, test = cubes["P1/train"], cubes["P1/test"]
    assert train.shape == (len(layout.TRAIN), layout.SENSORS, layout.TIMES, 1)
    assert test.shape == (len(layout.TEST), layout.SENSORS, layout.TIMES, layout.SESSIONS)
    for cube in (train, test):
        values = cube.values
        for row, stem in enumerate(cube.stimulus.values):
            where = [n for n, one in enumerate(layout.trials()) if one[1] == stem]
            assert list(cube.trial.values[row]) == where
            assert list(cube.trial_session.values[row]) == [layout.trials()[n][2] for n in where]
            for repeat, n in enumerate(where):
                want = layout.value(n, *np.ogrid[: layout.SENSORS, : layout.TIMES])
                np.testing.assert_array_equal(values[row, :, :, repeat], want)


@pytest.mark.parametrize("read", [things_meg.read, things_meg.read_cosmo])
def test_meg__labels_units_and_what_is_dropped(raw, read):
    cube = read(raw)["P1/test"]
    assert cube.attrs["units"] == "z"
    assert cube.attrs["dropped"] == {"catch trials": layout.CATCH * layout.SESSIONS}
    assert list(cube.channel.values) == list(cube[UNIT].values) == layout.CHANNELS
    assert list(cube.hemisphere.values[:3]) == ["left", "right", "midline"]
    assert list(cube.region.values[:3]) == ["central", "frontal", "occipital"]
    np.testing.assert_allclose(cube[TIME], np.arange(281) / 200 - 0.1)
    assert cube.things_image_nr_paper.values.tolist() == [layout.NUMBERS[s] for s in cube.stimulus.values]
    assert list(cube.stimulus.values) == sorted(layout.TEST)


def test_fif__is_a_chain_read_once(raw):
    assert [one.name for one in chain(raw / PARTS[0])] == PARTS
    assert sorted(one.name for one in raw.glob("*epo*.fif")) == sorted(PARTS)
    cubes = things_meg.read(raw)
    trials = np.concatenate([cubes[f"P1/{one}"].trial.values.ravel() for one in ("train", "test")])
    assert len(trials) == len(set(trials)) == len(layout.trials()) - layout.CATCH * layout.SESSIONS
    assert [one["file"] for one in cubes["P1/test"].attrs["sources"]] == PARTS
    with pytest.raises(InputError, match="is not the head of a chain"):
        things_meg.read(raw / PARTS[1])


@pytest.mark.parametrize("part", PARTS[1:])
def test_fif__a_part_that_is_gone_is_told(folder, part):
    (folder / part).unlink()
    with pytest.raises(InputError, match=f"{PARTS[0]} cannot be read.*Are all there"):
        things_meg.read(folder)


def test_fif__import_reads_each_trial_once(raw, tmp_path, monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**18)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**17)
    monkeypatch.setattr("stores.readers.trials.BLOCK_AT_MOST", 2**20)
    cube = things_meg.read(raw)["P1/train"]
    seen = []
    real = mne.BaseEpochs.get_data

    def spy(self, *args, item, **kwargs):
        seen.extend(np.asarray(item).tolist())
        return real(self, *args, item=item, **kwargs)

    with stores.writing(tmp_path, "meg", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        assert len(where) > 5
        monkeypatch.setattr(mne.BaseEpochs, "get_data", spy)
        fill({"meg": target}, [Block({"meg": one}) for one in where], lazy_source(cube, "meg"))
    assert sorted(seen) == sorted(cube.trial.values.ravel())
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "meg").values, cube.values)


@pytest.mark.parametrize(
    ("shape", "whole", "slow"),
    [
        ((22248, 271, 281, 1), [UNIT, TIME], STIMULUS),
        ((200, 271, 281, 12), [UNIT, TIME], STIMULUS),
        ((22248, 271, 281, 1), [STIMULUS, REPEAT], TIME),
        ((200, 271, 281, 12), [STIMULUS, REPEAT], TIME),
    ],
)
def test_meg__sizes_of_the_real_files_make_bearable_blocks(shape, whole, slow):
    chunks = blocks(shape, np.float32, whole=whole, slow=slow)
    assert np.prod([one[0] for one in chunks]) * 4 < 100 * 2**20


def swapped(table):
    return table.iloc[::-1].reset_index(drop=True)


@pytest.mark.parametrize("fif", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="image_path"), "image_path"),
        (lambda t: t.assign(trial_type="exp"), r"trial_type is one of \['exp'\]"),
        (lambda t: t.assign(image_path="images_meg/dog/dog.jpg"), "image_path: .* names no THINGS image"),
        (lambda t: t.assign(image_path="images_meg/dog/dog_01b.jpg"), "1 images are of both exp and test"),
        (lambda t: t.assign(session_nr=np.nan), "session_nr of its table of trials holds something other"),
        (lambda t: t.assign(things_image_nr=np.inf), "things_image_nr of its table of trials"),
    ],
)
def test_meg__refuses_another_table(tmp_path, fif, change, message):
    write, read = (layout.write, things_meg.read) if fif else (layout.write_cosmo, things_meg.read_cosmo)
    write(tmp_path, change=change)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path)
    assert (PARTS[0] if fif else things_meg.COSMO_FILE) in str(caught.value)


def test_fif__rows_of_other_epochs_are_refused(tmp_path):
    layout.write(tmp_path, change=swapped)
    with pytest.raises(InputError, match="the rows are not those of the epochs"):
        things_meg.read(tmp_path)


def test_fif__without_a_table_is_refused(tmp_path):
    layout.write(tmp_path, change=lambda t: None)
    with pytest.raises(InputError, match="have no table of trials"):
        things_meg.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("samples", lambda a: a.T, "ds.samples is"),
        ("samples", lambda a: a[:-1], "ds.samples is"),
        ("samples", lambda a: None, "no dataset 'ds/samples'"),
        ("fa/chan", lambda a: a[::-1], "ds.fa.chan is not that of samples with time by time all sensors"),
        ("fa/time", lambda a: np.sort(a)[::-1], "ds.fa.time is not that"),
        ("sa/run_nr", lambda a: None, "no dataset 'ds/sa/run_nr'"),
    ],
)
def test_cosmo__refuses_another_content(folder, name, make, message):
    with h5py.File(folder / things_meg.COSMO_FILE, "r+") as file:
        new = make(file[f"ds/{name}"][()])
        del file[f"ds/{name}"]
        if new is not None:
            file[f"ds/{name}"] = new
    with pytest.raises(InputError, match=message):
        things_meg.read_cosmo(folder)


@pytest.mark.parametrize("part", [PARTS[0], PARTS[3]])
def test_fif__malformed_ends_in_an_error_or_a_cube(folder, part):
    assert survive(lambda: things_meg.read(folder), folder / part, count=25, compute=False) >= 4


def test_cosmo__malformed_ends_in_an_error_or_a_cube(folder):
    file = folder / things_meg.COSMO_FILE
    assert survive(lambda: things_meg.read_cosmo(folder), file, count=25, compute=False) >= 4
