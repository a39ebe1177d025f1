import hashlib
import shutil
from functools import partial
from typing import ClassVar

import h5py
import numpy as np
import pytest
import scipy.io

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import CUBE, TIME, UNIT
from stores.errors import InputError
from stores.readers import tvsd
from stores.readers.files import source_record
from stores.readers.trials import regions, storage
from tests.layouts import tvsd as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests


class TestTvsd(ReaderTests):
    name = "tvsd"
    write = staticmethod(partial(layout.write, monkeys="F"))
    cubes: ClassVar[dict[str, str]] = {
        f"monkeyF/{one}": "mua" for one in ("train", "test", "trials/train", "trials/test")
    }

    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return layout.write(tmp_path_factory.mktemp("tvsd"), with_trials="FN")


@pytest.fixture(scope="module")
def cubes(raw):
    return tvsd.read(raw)


@pytest.fixture
def folder(raw, tmp_path):
    """A folder of monkey F to be spoilt."""
    return shutil.copytree(raw / "monkeyF", tmp_path / "monkeyF")


def at(cube, **where):
    return cube.sel(**where).values


@pytest.mark.parametrize("monkey", ["F", "N"])
def test_norm__keeps_every_value_at_its_electrode_and_image(cubes, monkey):
    train, test = cubes[f"monkey{monkey}/train"], cubes[f"monkey{monkey}/test"]
    assert train.shape == (layout.TRAIN, 1024, 1, 1)
    assert test.shape == (layout.TEST, 1024, 1, layout.REPS)
    electrode = np.arange(1024)[None, :, None]
    want = [layout.norm_value(electrode[..., 0], layout.TRAIN_STEMS.index(s)) for s in train.stimulus.values]
    reps = np.arange(layout.REPS)[None, None]
    want_test = [layout.norm_value(electrode, layout.TEST_STEMS.index(s), reps) for s in test.stimulus.values]
    want, want_test = np.concatenate(want), np.concatenate(want_test)
    if monkey == "N":
        want[:, layout.DEAD] = want_test[:, layout.DEAD] = np.nan
    np.testing.assert_array_equal(train.values[:, :, 0, 0], want)
    np.testing.assert_array_equal(test.values[:, :, 0], want_test.astype(np.float32))


def test_norm__regions_come_from_the_monkey(cubes):
    counts = {
        monkey: {r: int((cubes[f"monkey{monkey}/test"].region == r).sum()) for r in ("V1", "V4", "IT")}
        for monkey in "NF"
    }
    assert counts == {"N": {"V1": 512, "V4": 256, "IT": 256}, "F": {"V1": 512, "V4": 192, "IT": 320}}
    f = cubes["monkeyF/test"]
    assert list(f.region.values[[511, 512, 831, 832, 1023]]) == ["V1", "IT", "IT", "V4", "V4"]
    assert list(f.array.values[[0, 63, 64, 1023]]) == [1, 1, 2, 16]
    assert f.unit.values[832] == "e0833"


def test_norm__carries_the_published_quality_of_each_electrode(cubes):
    f, n = cubes["monkeyF/train"], cubes["monkeyN/train"]
    e = np.arange(1024)
    np.testing.assert_allclose(f.reliability, e / 1024)
    assert np.isnan(n.reliability[layout.DEAD]).all()
    assert int(np.isnan(n.reliability).sum()) == 64
    np.testing.assert_allclose(f.snr_max, e + 0.5)
    np.testing.assert_allclose(f.oracle, e / 2000)
    np.testing.assert_allclose(f.snr_day2, e + 0.1)
    np.testing.assert_allclose(f.lats_day1, e + 50)


@pytest.mark.parametrize("monkey", ["F", "N"])
def test_trials__are_in_physical_order(cubes, monkey):
    """The mapping is no involution: reading it the wrong way round moves nearly every electrode."""
    assert (layout.MAPPING[layout.MAPPING - 1] != np.arange(1, 1025)).mean() > 0.9
    wrong = len(layout.order()) - 2 if monkey == "N" else -1
    shown = [one if n != wrong else None for n, one in enumerate(layout.order())]
    cube = cubes[f"monkey{monkey}/trials/test"]
    values = cube.values
    e, t = np.arange(1024)[:, None], np.arange(layout.TIMES)[None]
    for row, stem in enumerate(cube.stimulus.values):
        s = layout.TEST_STEMS.index(stem)
        repeats = [one[2] for one in shown if one and one[1] == s]
        for place, repeat in enumerate(repeats):
            want = layout.trial_value(e, 100 + s, t, repeat)
            np.testing.assert_array_equal(values[row, :, :, place], want.astype(np.float32))
        assert np.isnan(values[row, :, :, len(repeats) :]).all()
    np.testing.assert_allclose(cube[TIME], layout.TB / 1000)


def test_trials__train_and_their_facts(cubes):
    cube = cubes["monkeyF/trials/train"]
    shown = layout.order()
    e, t = np.arange(1024)[None, :, None], np.arange(layout.TIMES)[None, None]
    s = np.array([layout.TRAIN_STEMS.index(one) for one in cube.stimulus.values])
    want = layout.trial_value(e, s[:, None, None], t).astype(np.float32)
    np.testing.assert_array_equal(cube.values[..., 0], want)
    for row, index in enumerate(s):
        n = next(i for i, one in enumerate(shown) if one[0] == index)
        assert cube.trial.values[row, 0] == n
        assert cube.trial_day.values[row, 0] == n // 22 + 1
        assert cube.trial_count.values[row, 0] == n % 4 + 1
    assert list(cube.concept.values) == [one.rsplit("_", 1)[0] for one in cube.stimulus.values]


def test_trials__wrong_responses_are_dropped_and_said(cubes):
    assert cubes["monkeyN/trials/test"].attrs["dropped"]["trials with a wrong response"] == 1
    assert cubes["monkeyF/trials/test"].attrs["dropped"] == {}


def test_trials__split_of_both_monkeys_joins_by_stem(cubes):
    f, n = stores.align(cubes["monkeyF/test"], cubes["monkeyN/test"], how="exact")
    live = f.region.values == "V1"
    live[layout.DEAD] = False
    np.testing.assert_array_equal(f.values[:, live], n.values[:, live])


def test_trials__import_reads_each_byte_once(raw, tmp_path, monkeypatch):
    """Chunks cut by time alone, though shards are cut by unit too."""
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**14)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**13)
    path = raw / "monkeyF"
    cube = tvsd.read(path)["monkeyF/trials/train"]
    seen = []
    real = h5py.Dataset.__getitem__

    def spy(self, key, *args, **kwargs):
        found = real(self, key, *args, **kwargs)
        if self.name == "/ALLMUA":
            seen.append(key)
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    with stores.writing(tmp_path, "mua", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        assert len(target.regions()) > len(where) == layout.TIMES
        fill({"mua": target}, [Block({"mua": one}) for one in where], lazy_source(cube, "mua"))
    touched = [(time, trial) for time, trials in seen for trial in range(trials.start, trials.stop)]
    assert len(touched) == len(set(touched))
    back = stores.open_cube(tmp_path, "mua")
    np.testing.assert_array_equal(back.values, cube.values)
    assert back.dims == CUBE


def test_trials__sizes_of_the_real_file_make_bearable_blocks():
    from stores.readers.trials import blocks

    for shape in ((22248, 1024, 300, 1), (100, 1024, 300, 30)):
        chunks = blocks(shape, np.float32, whole=[UNIT], slow=TIME)
        assert np.prod([one[0] for one in chunks]) * 4 < 100 * 2**20
        assert chunks[:2] == ((shape[0],), (1024,))


def test_regions__refuse_the_map_of_the_other_monkey(raw):
    norm, images = raw / "monkeyN" / tvsd.NORM_FILE, raw / "monkeyN" / "_logs" / tvsd.IMAGES_FILE
    with pytest.raises(InputError, match=r"THINGS_normMUA.mat is of monkey N, but .* those of F"):
        tvsd.norm(norm, images, "F")
    with pytest.raises(InputError, match="no monkey 'X'"):
        tvsd.norm(norm, images, "X")
    mapping = raw / "monkeyF" / "_logs" / tvsd.MAPPING_FILE
    with pytest.raises(InputError, match=r"1024chns.* is of monkey F"):
        tvsd.trials(raw / "monkeyN" / tvsd.TRIALS_FILE, images, mapping, "N")


def change(path, name, make):
    with h5py.File(path, "r+") as file:
        old = file[name][()]
        attrs = dict(file[name].attrs)
        del file[name]
        if (new := make(old)) is not None:
            file[name] = new
            file[name].attrs.update(attrs)


def setting(value, *where):
    def make(old):
        old[where] = value
        return old

    return make


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("train_MUA", lambda a: None, "no dataset 'train_MUA'"),
        ("train_MUA", lambda a: a.T, r"train_MUA has MATLAB shape \(24, 1024\); wanted \(1024, 24\)"),
        ("train_MUA", lambda a: a.astype(int), "train_MUA is int64"),
        ("train_MUA", lambda a: a[:20], r"shape \(1024, 20\)"),
        ("test_MUA_reps", lambda a: a.mean(0), "test_MUA_reps is float64 of shape"),
        ("test_MUA_reps", lambda a: a.transpose(1, 0, 2), "test_MUA_reps has MATLAB shape"),
        ("reliab", lambda a: a[:5], "reliab has MATLAB shape"),
        ("reliab", lambda a: a * np.nan, "reliab has no electrode with a reliability"),
        ("SNR_max", lambda a: a[:1000], "SNR_max has MATLAB shape"),
        ("oracle", lambda a: None, "no dataset 'oracle'"),
        ("lats", lambda a: a[:, :3], "lats has MATLAB shape"),
    ],
)
def test_norm__refuses_another_content(folder, name, make, message):
    change(folder / tvsd.NORM_FILE, name, make)
    with pytest.raises(InputError, match=message) as caught:
        tvsd.read(folder)
    assert tvsd.NORM_FILE in str(caught.value)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("ALLMAT", lambda a: a[:5], "ALLMAT has 5 columns"),
        ("ALLMAT", lambda a: np.vstack([a, a]), "ALLMAT has 12 columns"),
        ("ALLMAT", setting(np.nan, 1, 3), "values that are no numbers"),
        ("ALLMAT", setting(0, slice(1, 3), 3), "trial 4 of ALLMAT is not of either"),
        ("ALLMAT", setting(1, slice(1, 3), 3), "trial 4 of ALLMAT is not of either"),
        ("ALLMAT", lambda a: a * 30, "train_idx of ALLMAT goes to 720"),
        ("ALLMUA", lambda a: a[:, :20], "ALLMUA has MATLAB shape"),
        ("ALLMUA", lambda a: a[..., :1000], "ALLMUA has MATLAB shape"),
        ("tb", lambda a: a[:5], "ALLMUA has MATLAB shape"),
        ("tb", lambda a: a[::-1], "'time' is not finite and increasing"),
    ],
)
def test_trials__refuse_another_content(folder, name, make, message):
    change(folder / tvsd.TRIALS_FILE, name, make)
    with pytest.raises(InputError, match=message) as caught:
        tvsd.read(folder)
    assert tvsd.TRIALS_FILE in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (np.arange(1024), "1024 entries"),
        (np.arange(1, 1001), "1000 entries"),
        (np.full(1024, 7.0), "wanted each of 1 to 1024 once"),
        (np.array(["a"]), "wanted each of 1 to 1024 once"),
    ],
)
def test_mapping__must_be_a_permutation(folder, mapping, message):
    scipy.io.savemat(folder / "_logs" / tvsd.MAPPING_FILE, {"mapping": mapping})
    with pytest.raises(InputError, match=message):
        tvsd.read(folder)


def test_values__infinite_ones_are_refused_when_read(folder):
    change(folder / tvsd.NORM_FILE, "train_MUA", setting(np.inf, 3, 5))
    cube = tvsd.read(folder)["monkeyF/train"]
    with pytest.raises(InputError, match="train_MUA holds 1 infinite"):
        cube.compute()


def test_values__never_written_are_refused(folder):
    with h5py.File(folder / tvsd.TRIALS_FILE, "r+") as file:
        shape = file["ALLMUA"].shape
        del file["ALLMUA"]
        made = file.create_dataset("ALLMUA", shape, "f8", chunks=(1, *shape[1:]))
        made[0] = 1
    with pytest.raises(InputError, match=f"ALLMUA declares .* but holds 1 of {layout.TIMES} chunks"):
        tvsd.read(folder)


def test_shape__of_terabytes_is_refused(folder):
    with h5py.File(folder / tvsd.TRIALS_FILE, "r+") as file:
        del file["ALLMUA"]
        file.create_dataset("ALLMUA", (300, 10**8, 1024), "f8", chunks=(1, 100, 1024))
    with pytest.raises(InputError, match="ALLMUA declares the shape"):
        tvsd.read(folder)


def test_images__repeated_or_foreign_names_are_refused(folder, monkeypatch):
    path = folder / "_logs" / tvsd.IMAGES_FILE
    monkeypatch.setattr(layout, "TEST_STEMS", [*layout.TEST_STEMS[:4], layout.TEST_STEMS[0]])
    layout.images(path)
    with pytest.raises(InputError, match="1 repeated images"):
        tvsd.read(folder)
    monkeypatch.setattr(layout, "TEST_STEMS", [*layout.TEST_STEMS[:4], "zebra"])
    layout.images(path)
    with pytest.raises(InputError, match=r"imgs.mat: test_imgs.things_path: 'zebra\\\\zebra.jpg' names no"):
        tvsd.read(folder)


def test_files__of_another_dataset_are_refused(folder):
    shutil.copy(folder / "_logs" / tvsd.IMAGES_FILE, folder / tvsd.NORM_FILE)
    with pytest.raises(InputError, match=r"normMUA.mat has no dataset 'train_MUA'; it has #refs#, test_imgs"):
        tvsd.read(folder)


def norm_of(folder):
    return tvsd.norm(folder / tvsd.NORM_FILE, folder / "_logs" / tvsd.IMAGES_FILE, "F")


def trials_of(folder):
    logs = folder / "_logs"
    found = tvsd.trials(folder / tvsd.TRIALS_FILE, logs / tvsd.IMAGES_FILE, logs / tvsd.MAPPING_FILE, "F")
    return {"test": found["test"]}


@pytest.mark.parametrize(
    ("read", "file"),
    [
        (norm_of, tvsd.NORM_FILE),
        (trials_of, tvsd.TRIALS_FILE),
        (norm_of, f"_logs/{tvsd.IMAGES_FILE}"),
        (trials_of, f"_logs/{tvsd.MAPPING_FILE}"),
    ],
)
def test_files__malformed_end_in_an_error_or_a_cube(folder, read, file):
    assert survive(lambda: read(folder), folder / file, compute="MUA" in file) >= 7


def test_source_record__hashes_the_ends_of_big_files_and_says_so(tmp_path):
    (tmp_path / "big").write_bytes(bytes(2**20) + b"middle" + bytes(2**20))
    whole, ends = source_record(tmp_path / "big"), source_record(tmp_path / "big", 10**6)
    assert ends["sha256"] == hashlib.sha256(bytes(2**21)).hexdigest() != whole["sha256"]
    assert ends["hashed"] == "the first and last 1048576 bytes"
    assert "hashed" not in whole
    assert ends["bytes"] == whole["bytes"] == 2**21 + 6
