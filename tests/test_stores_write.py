"""A cube on disk: created whole, filled by shard, resumed, refused, opened."""

import errno
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import stores
from stores.dims import CUBE, STIMULUS, TIME, UNIT
from stores.layout import Layout
from tests.laziness import computing_forbidden

MADE = {"step": "test/1", "seed": 0}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Several shards even in a small cube."""
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 60 * 10 * 4)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 60 * 4 * 4)


@pytest.fixture
def cube():
    return stores.simulate("meg_epochs", stimuli=60, units=12, times=5, repeats=2, ragged=True)


def store(root, cube, name="meg/sub-01", made_from=MADE, **options):
    stores.save(root, name, cube, made_from=made_from, **options)
    return stores.open_cube(root, name)


@pytest.mark.parametrize("modality", stores.specs.MODALITIES)
def test_save__round_trips_every_modality(tmp_path, modality):
    cube = stores.simulate(modality, stimuli=8)
    back = store(tmp_path, cube, modality)
    xr.testing.assert_equal(back.astype(cube.dtype).drop_vars([]), cube)
    assert back.dtype == cube.dtype
    assert back.attrs["units"] == cube.attrs["units"]
    stores.validate(back)


def test_save__round_trips_a_second_time(tmp_path, cube):
    once = store(tmp_path, cube)
    twice = store(tmp_path, once, "again")
    xr.testing.assert_equal(twice.compute(), cube)


def test_bare_xarray_opens_a_cube(tmp_path, cube):
    store(tmp_path, cube)
    with xr.open_zarr(tmp_path / "meg" / "sub-01") as dataset:
        assert list(dataset.data_vars) == ["values"]
        found = dataset["values"].sel(unit=str(cube.unit[3].item())).isel(time=2)
        np.testing.assert_array_equal(found, cube.isel(unit=3, time=2))


def test_memory_filesystem_holds_a_cube(cube):
    back = store("memory://test-write", cube)
    xr.testing.assert_equal(back.compute(), cube)
    assert list(stores.catalog("memory://test-write").index) == ["meg/sub-01"]
    assert stores.verify("memory://test-write") == []


def test_open__blocks_are_shards_and_nothing_is_read(tmp_path, cube):
    with computing_forbidden():
        back = store(tmp_path, cube)
    with stores.writing(tmp_path, "meg/sub-01", cube, made_from=MADE) as target:
        assert target.complete
        assert back.data.chunksize == tuple(map(min, target.shard, target.shape))
        assert back.data.npartitions == len(target.regions()) > 4


def test_shard_is_a_multiple_of_its_chunk_and_covers_every_value():
    found = stores.layout.layout(CUBE, (60, 12, 5, 2), np.float32)
    assert isinstance(found, Layout)
    assert all(s % c == 0 for s, c in zip(found.shard, found.chunk, strict=True))
    assert found.shard[0] >= 60  # all stimuli of a unit lie together


def test_missing__lists_what_is_not_there_and_a_second_run_completes_it(tmp_path, cube):
    values = np.asarray(cube)
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        first, *rest = target.regions()
        receipt = stores.write_region(target, first, values[first])
        assert receipt.bytes > 0
        assert target.missing() == rest
        with pytest.raises(stores.CorruptError, match=f"{len(rest)} shards are missing"):
            stores.finish(target, [receipt])
    with pytest.raises(stores.IncompleteError, match=r"not complete \(1 shards"):
        stores.open_cube(tmp_path, "c")
    partial = stores.open_cube(tmp_path, "c", partial=True)
    np.testing.assert_array_equal(partial[first], values[first])
    assert partial[rest[-1]].isnull().all()
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        assert target.missing() == rest
        stores.finish(target, [stores.write_region(target, r, values[r]) for r in rest])
    xr.testing.assert_equal(stores.open_cube(tmp_path, "c").compute(), cube)


def all_written(target, cube):
    """Write every shard, as a run that is then killed; returns the name of the second."""
    for region in target.regions():
        stores.write_region(target, region, np.asarray(cube)[region])
    (name,) = target.shards_of(target.regions()[1])
    return name


def test_finish__reads_back_shards_of_an_earlier_run(tmp_path, cube):
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        name = all_written(target, cube)
        path = tmp_path / "c" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(stores.CorruptError, match="1 damaged shards of an earlier run"):
            stores.finish(target)
        assert target.missing() == [target.regions()[1]]


def test_empty_shard_of_an_earlier_run_is_missing(tmp_path, cube):
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        name = all_written(target, cube)
        (tmp_path / "c" / name).write_bytes(b"")
        assert target.missing() == [target.regions()[1]]
        with pytest.raises(stores.CorruptError, match=f"{name} is empty"):
            stores.open_cube(tmp_path, "c", partial=True).compute(scheduler="synchronous")
    xr.testing.assert_equal(store(tmp_path, cube, "c").compute(), cube)


@pytest.mark.parametrize("left", ["zeros", "half", "index", "bytes"])
def test_finish__removes_what_a_power_cut_left(tmp_path, cube, left):
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        (name,) = target.shards_of(region := target.regions()[0])
        stores.write_region(target, region, np.asarray(cube)[region])
        path = tmp_path / "c" / name
        data = path.read_bytes()
        path.write_bytes(
            {"zeros": bytes(len(data)), "half": data[: len(data) // 2], "index": data[-20:], "bytes": b"\0"}[
                left
            ]
        )
        rest = [stores.write_region(target, r, np.asarray(cube)[r]) for r in target.regions()[1:]]
        with pytest.raises(stores.CorruptError, match="1 damaged shards"):
            stores.finish(target, rest)
        assert target.missing() == [region]


def test_finish__keeps_shards_that_the_system_fails_to_read(tmp_path, cube, monkeypatch):
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        for region in target.regions():
            stores.write_region(target, region, np.asarray(cube)[region])
        original = zarr.storage.LocalStore.get

        async def get(self, key, prototype=None, byte_range=None):
            if "values/c" in key:
                raise OSError(errno.EIO, "Input/output error")
            return await original(self, key, prototype, byte_range)

        with monkeypatch.context() as patch:
            patch.setattr(zarr.storage.LocalStore, "get", get)
            with pytest.raises(OSError, match="Input/output"):
                stores.finish(target)
        assert target.missing() == []


def test_finish__removes_partial_files(tmp_path, cube):
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        (name,) = target.shards_of(target.regions()[0])
        path = tmp_path / "c" / f"{name}.{'0' * 32}.partial"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"begun")
    store(tmp_path, cube, "c")
    assert not list(tmp_path.rglob("*.partial"))


def test_task_of_an_earlier_run_leaves_the_cube_made_after_it_alone(tmp_path, cube):
    values = np.asarray(cube)
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as outlived:
        pass
    with stores.writing(tmp_path, "c", cube, made_from=MADE | {"seed": 1}, overwrite=True) as target:
        receipts = [stores.write_region(target, r, values[r]) for r in target.regions()]
        for region in (outlived.regions()[0], outlived.regions()[-1]):
            with pytest.raises(stores.KeyMismatchError, match="made anew"):
                stores.write_region(outlived, region, values[region] * 2)
        with pytest.raises(stores.KeyMismatchError, match="made anew"):
            stores.finish(outlived)
        stores.finish(target, receipts)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "c").compute(), cube)
    assert stores.verify(tmp_path) == []
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("lost", ["manifest.json", "complete"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["gone", "changed"])
def test_same_command_mends_the_manifest_and_the_mark(tmp_path, cube, lost, harm):
    store(tmp_path, cube, "c")
    path = tmp_path / "c" / lost
    before = path.read_bytes()
    harm(path)
    assert not stores.catalog(tmp_path).loc["c", "complete"]
    with pytest.raises(stores.StoreError, match=r"[Rr]un the (same command again|command that made)"):
        stores.open_cube(tmp_path, "c")
    xr.testing.assert_equal(store(tmp_path, cube, "c").compute(), cube)
    assert path.read_bytes() == before


def test_all_nan_is_stored_and_differs_from_missing(tmp_path, cube):
    empty = cube.where(False)
    back = store(tmp_path, empty)
    assert back.isnull().all()
    assert len(list((tmp_path / "meg/sub-01/values/c").rglob("*"))) > 1
    assert stores.verify(tmp_path) == []


@pytest.mark.parametrize(
    ("region", "fault"),
    [
        ((slice(0, 30), slice(0, 1), slice(0, 1), slice(0, 1)), "cuts a shard"),
        ((slice(0, 60), slice(0, 13), slice(0, 5), slice(0, 2)), "cuts a shard"),
    ],
)
def test_write_region__refuses_a_part_of_a_shard(tmp_path, cube, region, fault):
    with (
        stores.writing(tmp_path, "c", cube, made_from=MADE) as target,
        pytest.raises(ValueError, match=fault),
    ):
        stores.write_region(target, region, np.zeros((1, 1, 1, 1), "f4"))


def test_write_region__refuses_wrong_shape_dtype_and_overflow(tmp_path, cube):
    with stores.writing(tmp_path, "c", cube.astype("f2"), made_from=MADE) as target:
        region = target.regions()[0]
        shape = tuple(part.stop - part.start for part in region)
        with pytest.raises(stores.SchemaError, match="have shape"):
            stores.write_region(target, region, np.zeros((1, *shape[1:]), "f2"))
        with pytest.raises(stores.SchemaError, match="complex"):
            stores.write_region(target, region, np.zeros(shape, complex))
        with pytest.raises(stores.SchemaError, match=r"exceed what float16 can hold \(largest: 1e\+06"):
            stores.write_region(target, region, np.full(shape, 1e6, "f4"))
        assert target.missing() == target.regions()


@pytest.mark.parametrize(
    ("held", "given", "extreme"),
    [("i2", "i8", 40000), ("i2", "i8", -40000), ("u1", "u2", 256), ("i8", "u8", 2**63), ("i1", "u1", 128)],
)
def test_write_region__refuses_integers_that_do_not_fit(tmp_path, held, given, extreme):
    cube = stores.simulate("spikes", stimuli=4, units=2, times=1, repeats=1).astype(held)
    with stores.writing(tmp_path, "c", cube, made_from=MADE) as target:
        (region,) = target.regions()
        values = np.zeros(target.shape, given)
        stores.write_region(target, region, values + np.array(np.iinfo(held).max, given))
        values[0] = extreme
        with pytest.raises(stores.SchemaError, match=rf"{extreme}.* exceed what {np.dtype(held)} can hold"):
            stores.write_region(target, region, values)


@pytest.mark.parametrize("seed", [0, 1], ids=["same key", "other key"])
def test_cube_held_open_is_not_read_from_the_one_made_after_it(tmp_path, cube, seed):
    old = store(tmp_path, cube, "c")
    partly = stores.open_cube(tmp_path, "c", partial=True)
    new = store(tmp_path, cube * 2, "c", made_from=MADE | {"seed": seed}, overwrite=True)
    assert old.data.name != new.data.name
    for held in (old, stores.reblock(old, {UNIT: 5}), *([partly] if seed else [])):
        with pytest.raises(stores.CorruptError, match="was replaced since it was opened; open it again"):
            held.compute(scheduler="synchronous")
    xr.testing.assert_equal(new.compute(), cube * 2)
    (tmp_path / "c" / "complete").unlink()
    (tmp_path / "c" / "values/c/0/0/0/0").unlink()
    with pytest.raises(stores.CorruptError, match="was replaced since"):
        new.compute(scheduler="synchronous")


def test_another_key_is_refused_and_says_which_field(tmp_path, cube):
    store(tmp_path, cube)
    with pytest.raises(stores.KeyMismatchError, match=r"seed: 0 -> 1"):
        store(tmp_path, cube, made_from=MADE | {"seed": 1})
    again = store(tmp_path, cube * 2, made_from=MADE | {"seed": 1}, overwrite=True)
    xr.testing.assert_equal(again.compute(), cube * 2)


def test_same_key_is_reused_not_written_again(tmp_path, cube):
    store(tmp_path, cube)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("values/c/**/*") if p.is_file()}
    store(tmp_path, cube * 7)  # same key: what is there counts
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("values/c/**/*") if p.is_file()} == before


def test_second_writer_is_refused_also_from_another_process(tmp_path, cube):
    program = f"""
        import stores
        cube = stores.simulate("meg_epochs", stimuli=60, units=12, times=5, repeats=2, ragged=True)
        try:
            stores.save({str(tmp_path)!r}, "c", cube, made_from={MADE!r})
        except stores.LockedError as refusal:
            print(refusal)
    """
    with stores.writing(tmp_path, "c", cube, made_from=MADE):
        with pytest.raises(stores.LockedError, match=f"process {os.getpid()}"):
            store(tmp_path, cube, "c")
        found = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
        )
        assert f"is being written by process {os.getpid()}" in found.stdout
    store(tmp_path, cube, "c")


def test_lock_of_a_dead_process_is_broken_and_of_another_host_is_not(tmp_path, cube):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "lock").write_text('{"host": "elsewhere", "pid": 1}')
    with pytest.raises(stores.LockedError, match="on elsewhere"):
        store(tmp_path, cube, "c")
    (tmp_path / "c" / "lock").write_text(f'{{"host": "{socket.gethostname()}", "pid": 999999999}}')
    store(tmp_path, cube, "c")


def test_remote_lock__second_writer_refused_dead_owner_broken(cube):
    root = "memory://test-lock"
    with stores.writing(root, "c", cube, made_from=MADE), pytest.raises(stores.LockedError):
        store(root, cube, "c")
    place = stores.place.Place.of(root) / "c"
    place.write("lock", f'{{"host": "{socket.gethostname()}", "pid": 999999999}}'.encode())
    store(root, cube, "c")
    assert place.read("lock") is None


def test_bad_template_leaves_nothing_behind(tmp_path, cube):
    with pytest.raises(stores.SchemaError) as fault:
        store(tmp_path, cube.fillna(0).drop_vars([UNIT, TIME]).astype("i4"), "a/b/c")
    assert all(
        part in str(fault.value) for part in ("'unit' has no ids", "'time' has no values", "dtype is int32")
    )
    with pytest.raises(stores.SchemaError, match="would be empty"):
        store(tmp_path, cube.isel({STIMULUS: slice(0, 0)}), "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_json_in_the_key_leave_nothing_behind(tmp_path, cube):
    with pytest.raises(TypeError):
        store(tmp_path, cube, made_from={"array": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/abs", "a/../b", "..", "a//b", "a\\b", "a b", "x" * 300, "a\0b", "a/"])
def test_names_never_leave_the_store(tmp_path, cube, name):
    with pytest.raises(stores.InputError, match="cannot name a cube"):
        store(tmp_path, cube, name)


@pytest.mark.parametrize("ids", [["../x", "a/b", "con:", "é" * 300, "\x01", "A", "a", " "]])
def test_ids_are_only_labels(tmp_path, ids):
    cube = stores.simulate("fmri", stimuli=8).assign_coords({STIMULUS: np.array(ids, object)})
    assert list(store(tmp_path, cube)[STIMULUS].values) == ids


def test_killed_creation_counts_as_nothing(tmp_path, cube):
    store(tmp_path, cube, "c")
    (tmp_path / "c" / "complete").unlink()
    (tmp_path / "c" / "manifest.json").unlink()
    (tmp_path / "c" / "origin.json").unlink()
    with pytest.raises(stores.NotFoundError):
        stores.open_cube(tmp_path, "c")
    xr.testing.assert_equal(store(tmp_path, cube, "c").compute(), cube)


def test_unknown_cube_offers_a_near_match(tmp_path, cube):
    store(tmp_path, cube)
    with pytest.raises(stores.NotFoundError, match="did you mean 'meg/sub-01'"):
        stores.open_cube(tmp_path, "meg/sub01")


def test_no_space_says_where_and_leaves_no_visible_cube(tmp_path, cube, monkeypatch):
    original, shards = Path.replace, []

    def full(self, target):
        shards.extend([target] if "values/c" in str(target) else [])
        if len(shards) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(stores.FullError, match=r"no space left while writing .*MB are free there"):
            store(tmp_path, cube, "c")
    with pytest.raises(stores.IncompleteError, match="1 shards are there"):
        stores.open_cube(tmp_path, "c")
    assert not list((tmp_path / "c").rglob("*.partial"))
    assert not stores.catalog(tmp_path).loc["c", "complete"]
    xr.testing.assert_equal(store(tmp_path, cube, "c").compute(), cube)


def test_catalog__lists_nested_cubes_with_sizes_and_origin(tmp_path, cube):
    store(tmp_path, cube)
    store(tmp_path, stores.simulate("fmri", stimuli=5), "fmri/sub-01")
    table = stores.catalog(tmp_path)
    assert list(table.index) == ["fmri/sub-01", "meg/sub-01"]
    assert table.loc["meg/sub-01", "sizes"] == "stimulus 60 x unit 12 x time 5 x repeat 2"
    assert table["complete"].all()
    assert (table["bytes"] > 0).all()
    assert table.loc["meg/sub-01", "made_from"] == "seed=0, step=test/1"


def test_reblock__reads_other_blocks_and_equal_values(tmp_path, cube):
    back = store(tmp_path, cube)
    with computing_forbidden():
        other = stores.reblock(back, {STIMULUS: -1, UNIT: 5, TIME: 2, "repeat": 1})
    assert other.data.chunks[1] == (5, 5, 2)
    xr.testing.assert_equal(other.compute(), cube)
    sliced = stores.reblock(back.isel(unit=slice(2, 9)) * 2, {UNIT: 3})
    xr.testing.assert_equal(sliced.compute(), cube.isel(unit=slice(2, 9)) * 2)
    plain = stores.reblock(cube, {UNIT: 5})
    assert plain.data.chunks[1] == (5, 5, 2)


def test_reblock__makes_no_more_tasks_than_blocks(tmp_path, cube):
    other = stores.reblock(store(tmp_path, cube), {UNIT: 5, TIME: -1, "repeat": -1})
    assert len(dask.optimize(other.data)[0].__dask_graph__()) <= other.data.npartitions + 2


def test_slice__touches_only_the_chunks_that_hold_it(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 200 * 40 * 4 * 4)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 200 * 4 * 4)
    cube = stores.simulate("meg_epochs", stimuli=200, units=40, times=20, repeats=1)
    back, read = store(tmp_path, cube), []
    original = zarr.storage.LocalStore.get

    async def get(self, key, prototype=None, byte_range=None):
        found = await original(self, key, prototype, byte_range)
        read.append((key, 0 if found is None else len(found)))
        return found

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    np.testing.assert_array_equal(back.isel(unit=3, time=2).compute(), cube.isel(unit=3, time=2))
    with stores.writing(tmp_path, "meg/sub-01", cube, made_from=MADE) as target:
        assert len(target.regions()) > 2
    array = zarr.open_array(tmp_path / "meg/sub-01", path="values", mode="r")
    data = [(key, size) for key, size in read if "values/c" in key]
    assert {key for key, _ in data} == {"values/c/0/0/0/0"}
    chunks = -(-array.shards[0] // array.chunks[0])
    assert len(data) == 1 + chunks  # the shard's index, and one column of inner chunks
    assert sum(size for _, size in data) < (tmp_path / "meg/sub-01/values/c/0/0/0/0").stat().st_size / 2


def test_content_key_ignores_order_and_minds_everything_else():
    key = stores.provenance.content_key
    assert key({"a": 1, "b": [1, 2]}) == key({"b": [1, 2], "a": 1})
    assert len({key({"a": 1}), key({"a": 1.5}), key({"a": "1"}), key({"b": 1}), key({"a": [1]})}) == 5
