"""Filling: what is missing becomes tasks, whatever runs them; killed workers change nothing."""

import os
from contextlib import ExitStack

import numpy as np
import pytest

import stores
from pipeline import cluster
from pipeline.fill import Block, fill, lazy_source, missing, shard_blocks
from tests.fill_sources import Breaks, Where, places

SHAPE = (40, 12, 5, 1)
MADE = {"step": "test/1"}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 40 * 2 * 4)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 40 * 4)


@pytest.fixture
def template():
    return stores.simulate("meg_epochs", stimuli=SHAPE[0], units=SHAPE[1], times=SHAPE[2], repeats=1)


@pytest.fixture(scope="module")
def client():
    local = {"kind": "local", "dashboard_address": "127.0.0.1:0"}
    workers = {
        "cpu": {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "1 GiB"},
        "gpu": {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "1 GiB", "resources": {"GPU": 1}},
    }
    config = cluster.ClusterConfig.model_validate({"profiles": {"local": local | {"workers": workers}}})
    with cluster.start(config, "local") as running:
        yield running


def log_of(path):
    return [line.rsplit(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []


def filled(root, template, source, **options):
    with stores.writing(root, "c", template, made_from=MADE) as target:
        return fill({"c": target}, shard_blocks(target), source, **options)


def test_fill__without_a_client(tmp_path, template):
    heard = []
    tasks = filled(
        tmp_path, template, Where(SHAPE, str(tmp_path / "log")), progress=lambda *event: heard.append(event)
    )
    assert tasks == 30
    assert [event[:3] for event in heard] == [("fill", n, 30) for n in range(31)]
    assert heard[-1][3] > 0
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "c"), places(SHAPE))
    assert stores.verify(tmp_path) == []


def test_fill__on_workers_gives_the_same_bytes(tmp_path, template, client):
    for root, runs_on in ((tmp_path / "here", None), (tmp_path / "there", client)):
        filled(root, template, Where(SHAPE, str(tmp_path / "log")), client=runs_on)
    shards = sorted((tmp_path / "here/c/values/c").rglob("*"))
    for path in (p for p in shards if p.is_file()):
        assert path.read_bytes() == (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes()
    np.testing.assert_array_equal(stores.open_cube(tmp_path / "there", "c"), places(SHAPE))


def test_fill__computes_only_what_is_missing(tmp_path, template):
    source = Where(SHAPE, str(tmp_path / "log"))
    with stores.writing(tmp_path, "c", template, made_from=MADE) as target:
        done = target.regions()[::3]
        for region in done:
            stores.write_region(target, region, places(SHAPE)[region])
    assert filled(tmp_path, template, source) == 20
    computed = {entry for entry, _ in log_of(tmp_path / "log")}
    assert not computed & {f"c {[part.start for part in region]}" for region in done}
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "c"), places(SHAPE))
    assert filled(tmp_path, template, source) == 0


def test_fill__every_task_that_wants_a_gpu_runs_where_one_is(tmp_path, template, client):
    filled(tmp_path, template, Where(SHAPE, str(tmp_path / "log")), client=client, gpu=True)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    offering = [address for address, info in workers.items() if info["resources"].get("GPU")]
    (gpu,) = client.run(os.getpid, workers=offering).values()
    assert {int(pid) for _, pid in log_of(tmp_path / "log")} == {gpu}
    assert len(log_of(tmp_path / "log")) == 30


def test_fill__without_gpus_runs_on_cpus(tmp_path, template, client):
    filled(tmp_path, template, Where(SHAPE, str(tmp_path / "log"), pause=0.02), client=client)
    assert len({pid for _, pid in log_of(tmp_path / "log")}) == 2


def test_fill__survives_the_kill_of_a_worker(tmp_path, template, client):
    source = Where(SHAPE, str(tmp_path / "log"), kill_once=str(tmp_path / "killed"))
    filled(tmp_path, template, source, client=client)
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "c"), places(SHAPE))
    assert len(log_of(tmp_path / "log")) <= 30 + 4  # the killed task, and what its worker held


@pytest.mark.parametrize("on_workers", [False, True])
def test_fill__an_error_comes_through_and_the_cube_stays_hidden(tmp_path, template, client, on_workers):
    with pytest.raises(ZeroDivisionError, match="no such values"):
        filled(tmp_path, template, Breaks(), client=client if on_workers else None)
    with pytest.raises(stores.IncompleteError):
        stores.open_cube(tmp_path, "c")
    filled(tmp_path, template, Where(SHAPE, str(tmp_path / "log")))


def test_fill__several_cubes_in_one_pass(tmp_path, template):
    source = Where(SHAPE, str(tmp_path / "log"))
    with ExitStack() as stack:
        targets = {
            name: stack.enter_context(stores.writing(tmp_path, name, template, made_from=MADE | {"n": name}))
            for name in ("a", "b")
        }
        regions = targets["a"].regions()
        stores.finish(targets["a"], [stores.write_region(targets["a"], r, places(SHAPE)[r]) for r in regions])
        blocks = [Block({"a": region, "b": region}) for region in regions]
        assert all(set(block.regions) == {"b"} for block in missing({"b": targets["b"]}, blocks))
        fill({"b": targets["b"]}, blocks, source)
    assert {entry.split()[0] for entry, _ in log_of(tmp_path / "log")} == {"b"}
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "b"), places(SHAPE))


def test_lazy_source__computes_region_by_region(tmp_path, template, client):
    lazy = (template.chunk(unit=3) * 2).astype("f4").assign_attrs(template.attrs)
    filled(tmp_path, lazy, lazy_source(lazy, "c"), client=client)
    np.testing.assert_array_equal(stores.open_cube(tmp_path, "c"), template * 2)
