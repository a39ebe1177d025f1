"""Cubes that lie among each other's bytes: imported together, and every byte of the source is read once."""

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

import stores
from pipeline.study import Run, read_study, run_study
from pipeline.study.run import Silent
from stores.dims import CUBE
from stores.layout import layout
from stores.readers import things_fmri, things_meg
from stores.readers.trials import TRIALS, beside, blocks, storage, together
from tests.layouts import things_fmri as fmri_layout
from tests.layouts import things_meg as meg_layout


def small_shards(monkeypatch, size):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", size)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", size // 2)


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def table(raw, monkeypatch):
    small_shards(monkeypatch, 2**10)
    return fmri_layout.write(raw), things_fmri.READER, "block0_values", "sub-01"


@pytest.fixture
def cosmo(raw, monkeypatch):
    small_shards(monkeypatch, 2**14)
    file = meg_layout.write_cosmo(raw)
    return file.parent if file.is_file() else file, things_meg.COSMO, "samples", ""


@pytest.fixture(params=["table", "cosmo"])
def dataset(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def rows_read(monkeypatch):
    """Rows of the array of responses, each time one is read."""
    seen, real = [], h5py.Dataset.__getitem__

    def spy(self, key, *args, **kwargs):
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, slice) and self.ndim == 2 and min(self.shape) > 1:
            seen.extend((self.name, row) for row in range(*first.indices(self.shape[0])))
        return real(self, key, *args, **kwargs)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    return seen


def imported(tmp_path, path, reader, name="store"):
    file = tmp_path / "study.yaml"
    file.write_text(
        f"title: T\nstore: {tmp_path / name}\n"
        f"steps: {{raw: {{verb: import, reader: {reader}, path: {path}}}}}\n"
    )
    study = read_study(file)
    run_study(Run(study, Silent()))
    return tmp_path / name


def test_import__reads_what_two_cubes_share_once(tmp_path, dataset, rows_read):
    path, reader, values, folder = dataset
    cubes = reader.read(path)
    assert len(cubes) == 2
    rows_read.clear()
    root = imported(tmp_path, path, reader.name)
    rows = [row for name, row in rows_read if name.endswith(values)]
    assert len(rows) > 1
    assert sorted(rows) == list(range(len(rows)))
    for name, cube in cubes.items():
        stored = stores.open_cube(root, f"raw/{name}")
        assert name.startswith(folder)
        assert stored.data.npartitions > 1
        np.testing.assert_array_equal(stored.values, cube.values)
    assert stores.verify(root) == []


def test_import__of_one_cube_that_is_missing_makes_that_alone(tmp_path, dataset):
    path, reader, *_ = dataset
    root = imported(tmp_path, path, reader.name)
    names = sorted(stores.catalog(root).index)
    kept = {
        name: {one: one.stat().st_mtime_ns for one in (root / name / "values").rglob("*")} for name in names
    }
    (root / names[0] / "complete").unlink()
    gone = next(iter(sorted((root / names[0] / "values" / "c").rglob("0"))))
    while gone.is_dir():
        gone = sorted(gone.iterdir())[0]
    whole = gone.read_bytes()
    gone.unlink()
    imported(tmp_path, path, reader.name)
    assert gone.read_bytes() == whole
    for name in names:
        changed = {one for one, at in kept[name].items() if one.is_file() and one.stat().st_mtime_ns != at}
        assert changed == ({gone} if name == names[0] else set())


def test_together__gives_what_each_reader_gives(dataset):
    path, reader, *_ = dataset
    cubes = reader.read(path)
    readers = {name: cube.encoding[TRIALS] for name, cube in cubes.items()}
    for rows in (slice(None), slice(1, 3)):
        where = {}
        for name, cube in cubes.items():
            sizes = cube.shape
            span = slice(*rows.indices(sizes[0])[:2])
            where[name] = (span, slice(0, sizes[1]), slice(0, min(2, sizes[2])), slice(0, sizes[3]))
        found = together(readers, where)
        for name, part in where.items():
            np.testing.assert_array_equal(found[name], readers[name](part))
            assert np.isfinite(found[name]).any()
    name, part = next(iter(where.items()))
    moved = {**where, name: (part[0], slice(1, part[1].stop), *part[2:])}
    with pytest.raises(ValueError, match="different units or times"):
        together(readers, moved)


@pytest.mark.parametrize(
    ("train", "test", "slow"),
    [
        ((8640, 211339, 1, 1), (100, 211339, 1, 12), "unit"),
        ((22248, 271, 281, 1), (200, 271, 281, 12), "time"),
    ],
)
def test_beside__blocks_of_the_real_sizes_are_whole_shards(train, test, slow):
    first = blocks(train, np.float32, whole=["stimulus", "repeat"], slow=slow)
    for shape, chunks in ((train, first), (test, beside(first, test))):
        cube = xr.DataArray(da.zeros(shape, np.float32, chunks=chunks), dims=CUBE)
        shard = layout(CUBE, shape, np.float32, **storage(cube)).shard
        for sizes, step in zip(chunks, shard, strict=True):
            assert all(size % min(step, sum(sizes)) == 0 for size in sizes[:-1])
        assert 2**20 < np.prod([min(n, one) for n, one in zip(shape, shard, strict=True)]) * 4 < 64 * 2**20
