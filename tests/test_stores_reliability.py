"""Damage of any kind is found by `verify`, and is an error, never a number, on reading."""

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import stores

TRIALS = 200


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store with one cube of noise (the worst case for compression) in several shards."""
    root = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stores.layout.SHARD_BYTES", 16 * 1024)
        patch.setattr("stores.layout.CHUNK_BYTES", 4 * 1024)
        cube = stores.simulate("meg_epochs", stimuli=60, units=30, times=8, repeats=2)
        stores.save(root, "meg", cube, made_from={"step": "test/1"})
    return root


@pytest.fixture
def damaged(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "store"))


def files(root, pattern):
    return sorted(p for p in (root / "meg").rglob(pattern) if p.is_file() and p.name != "lock")


def flip(path, rng):
    data = bytearray(path.read_bytes())
    bit = int(rng.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def truncate(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def empty(path, rng):
    path.write_bytes(b"")


def delete(path, rng):
    path.unlink()


def is_error(root):
    """Whether reading all the data raises, rather than giving numbers."""
    try:
        stores.open_cube(root, "meg").compute(scheduler="synchronous")
    except (stores.StoreError, ValueError, RuntimeError, OSError):
        return True
    return False


def kinds(root):
    shards = files(root, "values/c/**/*")
    coordinates = [p for p in files(root, "*/c/**/*") + files(root, "*/c/*") if p not in shards]
    metadata = [*files(root, "zarr.json"), *files(root, "*.json"), root / "meg" / "complete"]
    return {"shard": shards, "coordinate": sorted(set(coordinates)), "metadata": sorted(set(metadata))}


@pytest.mark.parametrize("kind", ["shard", "coordinate", "metadata"])
@pytest.mark.parametrize("harm", [flip, truncate, empty, delete], ids=lambda f: f.__name__)
def test_damage_is_found_every_time(damaged, kind, harm):
    rng = np.random.default_rng([len(kind), len(harm.__name__)])
    candidates = kinds(damaged)[kind]
    assert len(candidates) > 3
    # Some harm is the same every time: once for each file. The rest: 200 places.
    chosen = candidates if harm in (empty, delete) else rng.choice(np.array(candidates, object), TRIALS)
    found = raised = 0
    for path in chosen:
        before = path.read_bytes()
        harm(path, rng)
        wrong = stores.verify(damaged)
        # The mark and the manifest vouch for each other: damage to one is told of either.
        pair = path.name in ("complete", "manifest.json")
        found += any(fault.file == str(path.relative_to(damaged / "meg")) for fault in wrong) or (
            pair and bool(wrong)
        )
        raised += is_error(damaged)
        path.write_bytes(before)
    assert (found, raised) == (len(chosen), len(chosen))
    assert stores.verify(damaged) == []


def test_a_sound_store_has_no_faults_and_leaves_no_journal(sound):
    assert stores.verify(sound) == []
    assert not is_error(sound)
    assert sorted(p.name for p in sound.iterdir()) == ["meg"]


def test_missing_shard_names_itself(damaged):
    (first, *_) = kinds(damaged)["shard"]
    first.unlink()
    with pytest.raises(stores.CorruptError, match=r"values/c/0/0/0/0 is gone"):
        stores.open_cube(damaged, "meg").compute(scheduler="synchronous")


@pytest.mark.parametrize("harm", [flip, truncate], ids=lambda f: f.__name__)
def test_damaged_shard_names_itself(damaged, harm):
    _, second, *_ = kinds(damaged)["shard"]
    harm(second, np.random.default_rng(1))
    said = f"meg: {second.relative_to(damaged / 'meg')} differs from what was written .*verify"
    cube = stores.open_cube(damaged, "meg")
    for one in (cube, stores.reblock(cube, dict.fromkeys(cube.dims, -1)), cube.isel(time=[1, 0]) + 1):
        with pytest.raises(stores.CorruptError, match=said):
            one.compute(scheduler="synchronous")
        with pytest.raises(stores.CorruptError, match=said):
            one.data.compute(scheduler="processes", num_workers=1)


def test_empty_file_in_an_object_store_is_an_error():
    root = "memory://test-empty"
    stores.save(root, "c", stores.simulate("spikes", stimuli=10), made_from={"step": "test/1"})
    place = stores.place.Place.of(root) / "c"
    place.write("values/c/0/0/0/0", b"")
    with pytest.raises(stores.CorruptError, match="values/c/0/0/0/0 is empty"):
        stores.open_cube(root, "c").compute(scheduler="synchronous")
    place.write("stimulus/c/0", b"")
    for partial in (False, True):
        with pytest.raises(stores.CorruptError, match="stimulus/c/0 is empty"):
            stores.open_cube(root, "c", partial=partial)


@pytest.fixture
def bytewise(tmp_path):
    """A cube of two shards of the same length, whose bytes are its values."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 4, 1, 1), np.uint8)
    cube = stores.simulate("spikes", stimuli=20, units=4, times=1, repeats=1)
    cube = cube.isel(time=[0]).copy(data=noise)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stores.layout.SHARD_BYTES", 40)
        patch.setattr("stores.layout.CHUNK_BYTES", 40)
        stores.save(tmp_path, "c", cube, made_from={"step": "test/1"})
        stores.save(tmp_path, "d", cube + 1, made_from={"step": "test/2"})
    return tmp_path


def test_sound_shards_in_each_others_place_are_found(bytewise):
    first, second = (bytewise / "c" / f"values/c/0/{i}/0/0" for i in range(2))
    held = first.read_bytes(), second.read_bytes()
    assert len(held[0]) == len(held[1])
    first.write_bytes(held[1])
    second.write_bytes(held[0])
    assert [fault.file for fault in stores.verify(bytewise)] == ["values/c/0/0/0/0", "values/c/0/1/0/0"]
    assert "CRC-32" in stores.verify(bytewise)[0].what


def test_shard_of_another_cube_is_found(bytewise):
    shutil.copy(bytewise / "d/values/c/0/0/0/0", bytewise / "c/values/c/0/0/0/0")
    assert [fault.file for fault in stores.verify(bytewise)] == ["values/c/0/0/0/0"]


def test_coordinates_of_another_cube_are_found_and_refused(tmp_path):
    cube = stores.simulate("fmri", stimuli=4, units=3)
    stores.save(tmp_path, "c", cube, made_from={"n": 1})
    stores.save(
        tmp_path, "d", cube.assign_coords(stimulus=cube.stimulus.values[[0, 1, 3, 2]]), made_from={"n": 2}
    )
    name = "stimulus/c/0"
    assert (tmp_path / "c" / name).stat().st_size == (tmp_path / "d" / name).stat().st_size
    shutil.copy(tmp_path / "d" / name, tmp_path / "c" / name)
    assert [(fault.cube, fault.file) for fault in stores.verify(tmp_path)] == [("c", name)]
    for partial in (False, True):
        with pytest.raises(stores.CorruptError, match=f"c/{name} differs from what was written"):
            stores.open_cube(tmp_path, "c", partial=partial)


@pytest.mark.parametrize("name", ["values/zarr.json", "zarr.json", "origin.json"])
def test_damaged_metadata_of_a_cube_that_is_being_filled_is_told(damaged, name):
    (damaged / "meg" / name).write_bytes(b"{")
    with pytest.raises(stores.CorruptError, match=f"{name} differs from what was written"):
        stores.open_cube(damaged, "meg", partial=True)


def test_cube_with_other_checksums_is_told(damaged):
    path = damaged / "meg" / "manifest.json"
    path.write_text(path.read_text().replace('"crc32"', '"crc32c"'))
    (damaged / "meg" / "complete").write_bytes(stores.target.mark_of(path.read_bytes()))
    with pytest.raises(stores.CorruptError, match="made by an earlier version"):
        stores.open_cube(damaged, "meg")
    (fault,) = stores.verify(damaged)
    assert "made by an earlier version" in fault.what


def test_without_checksums_damage_would_be_read_as_numbers(tmp_path):
    """The control: the same flips, in an array without CRC32C, mostly pass as numbers."""
    rng = np.random.default_rng(0)
    array = zarr.create_array(tmp_path / "plain", shape=(64, 64), chunks=(64, 64), dtype="f4")
    array[:] = rng.normal(size=(64, 64))
    path = tmp_path / "plain" / "c" / "0" / "0"
    sound, silent = path.read_bytes(), 0
    for _ in range(50):
        flip(path, rng)
        try:
            array[:]
            silent += 1
        except (ValueError, RuntimeError):
            pass
        path.write_bytes(sound)
    assert silent > 25


def test_verify_goes_on_where_it_was_killed(sound, damaged, monkeypatch):
    monkeypatch.setattr(sys.modules["stores.verify"], "SAVE_EVERY_S", 0.0)

    class KilledError(Exception):
        pass

    def kill(cube, done, total):
        if done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        stores.verify(damaged, progress=kill)
    read = []
    original = stores.place.Place.read
    monkeypatch.setattr(
        stores.place.Place, "read", lambda self, name: read.append(name) or original(self, name)
    )
    assert stores.verify(damaged) == []
    data = [name for name in read if "/c/" in name]
    assert (
        len(data)
        == len(set(data))
        == len([n for k in ("shard", "coordinate") for n in kinds(damaged)[k]]) - 5
    )


def test_verify_reads_again_what_changed_since_it_was_killed(damaged, monkeypatch):
    monkeypatch.setattr(sys.modules["stores.verify"], "SAVE_EVERY_S", 0.0)

    def kill(cube, done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stores.verify(damaged, progress=kill)
    sound = json.loads((damaged / ".verify.json").read_text())
    shard = kinds(damaged)["shard"][1]
    assert len(sound) > 3
    flip(shard, np.random.default_rng(0))
    assert [fault.file for fault in stores.verify(damaged)] == [str(shard.relative_to(damaged / "meg"))]


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "no")], ids=repr)
@pytest.mark.parametrize("kind", ["shard", "metadata"])
def test_verify_goes_on_where_a_file_cannot_be_read(damaged, monkeypatch, error, kind):
    shards = kinds(damaged)["shard"]
    shards[-1].unlink()
    locked = kinds(damaged)[kind][0]
    original = Path.read_bytes

    def read(self):
        if self == locked:
            raise error
        return original(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    first, *_, last = stores.verify(damaged)
    assert "cannot be read" in first.what
    assert last.file == str(shards[-1].relative_to(damaged / "meg"))


def test_verify_of_one_cube(damaged):
    stores.save(damaged, "other", stores.simulate("fmri", stimuli=4), made_from={"step": "test/1"})
    kinds(damaged)["shard"][0].unlink()
    assert stores.verify(damaged, "other") == []
    assert [fault.cube for fault in stores.verify(damaged)] == ["meg"]
