"""Graph building: fixed order, readable names, one BLAS thread, no more tasks than a scheduler bears."""

import threading
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.utils import key_split
from threadpoolctl import ThreadpoolController, threadpool_info

from pipeline import blocks
from pipeline.errors import PlanError


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def two_threads():
    """BLAS with two threads, as a main process has; skipped where BLAS has none to limit."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        if set(blas_threads()) != {2}:
            pytest.skip("this BLAS does not change its threads here")
        yield


def test_one_blas_thread__holds_in_every_thread_and_gives_back(two_threads):
    before, inside, meet = blas_threads(), [], threading.Barrier(3, timeout=30)

    def task():
        with blocks.one_blas_thread():
            meet.wait()
            inside.append(blas_threads())
            meet.wait()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: task(), range(3)))
    assert inside == [[1] * len(before)] * 3
    assert blas_threads() == before


def test_one_blas_thread__gives_back_after_an_error(two_threads):
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        blocks.task(lambda x: 1 / x)(0)
    assert blas_threads() == before


def test_task__runs_alone_with_its_options(two_threads):
    run = blocks.task(lambda x, *, power: (x**power, blas_threads()), power=2)
    square, threads = run(3)
    assert square == 9
    assert set(threads) == {1}


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 17, 100])
def test_tree__keeps_the_order_and_joins_few_at_a_time(count):
    parts = [("part", i) for i in range(count)]
    tasks = blocks.tree("add", parts, out=("add-token", 0), merge=list_of, finish=list_of)
    assert all(len(arguments[0]) <= blocks.FAN_IN for _, *arguments in tasks.values())
    assert [key for key in tasks if key[0] == "add-token"] == [("add-token", 0)]
    flat = flatten(("add-token", 0), tasks)
    assert flat == parts


def list_of(parts):
    return parts


def flatten(key, tasks):
    if key not in tasks:
        return [key]
    return [leaf for part in tasks[key][1] for leaf in flatten(part, tasks)]


def add(a, b):
    return a[..., None] + b[..., None, :]


def test_mapped__combines_blocks_by_name():
    a, b = np.arange(12.0).reshape(3, 4), np.arange(15.0).reshape(3, 5)
    lazy = blocks.mapped(
        "outer-sum",
        blocks.task(add),
        [(da.from_array(a, chunks=(1, 2)), "ta"), (da.from_array(b, chunks=(1, 3)), "tb")],
        dict.fromkeys("tab"),
        price=blocks.Price(peak=7, reads=11),
    )
    assert lazy.numblocks == (3, 2, 2)
    np.testing.assert_array_equal(lazy.compute(), a[:, :, None] + b[:, None, :])
    assert "outer-sum" in {key_split(key) for key in dict(lazy.dask)}
    assert blocks.priced(lazy, lazy + 1) == [blocks.Price(7, 11)]


def test_mapped__same_question_has_the_same_name():
    x = da.ones((4, 4), chunks=2)
    names = {
        blocks.mapped(
            "sum", blocks.task(np.sum, axis=axis), [(x, "ab")], {"a": None}, price=blocks.Price(0)
        ).name
        for axis in (0, 1, 1)
    }
    assert len(names) == 2


def test_array__refuses_more_tasks_than_a_scheduler_bears():
    x = da.ones((1, 1), chunks=1)
    tasks = {("rdm-correlation-token", i): None for i in range(blocks.TASKS_AT_MOST + 1)}
    with pytest.raises(PlanError, match=r"rdm-correlation would take 50,001 tasks; .* about 50,000"):
        blocks.array("rdm-correlation-token", tasks, [x], chunks=((1,), (1,)), price=blocks.Price(0))


def test_blocks__of_values_in_memory_and_of_lazy_ones(computing_forbidden):
    x = xr.DataArray(np.arange(20.0).reshape(4, 5), dims=("a", "b"), coords={"a": list("wxyz")})
    with computing_forbidden():
        eager, lazy = (blocks.blocks(one, {"a": -1, "b": 2}) for one in (x, x.chunk(a=1, b=3)))
    assert eager.chunks == lazy.chunks == ((4,), (2, 2, 1))
    assert all(np.shares_memory(view, x.values) for view in dict(eager.dask).values())
    np.testing.assert_array_equal(eager.compute(), x)
    np.testing.assert_array_equal(lazy.compute(), x)


def test_blocks__of_a_file_opened_without_blocks_reads_nothing_yet(tmp_path):
    x = xr.DataArray(np.arange(20.0).reshape(4, 5), dims=("a", "b"), name="x")
    x.to_zarr(tmp_path / "x.zarr", consolidated=False)
    opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarr", consolidated=False)["x"]
    data = blocks.blocks(opened, {"a": -1, "b": 2})
    (tmp_path / "x.zarr" / "x" / "c" / "0" / "0").unlink()
    assert data.chunks == ((4,), (2, 2, 1))
    assert np.isnan(data.compute()).all()


def test_read_bytes__counts_sources_once():
    source = da.ones((10, 10), chunks=5)
    made = blocks.mapped(
        "sum", blocks.task(np.sum), [(source, "ab")], {"a": None}, price=blocks.Price(0, 800)
    )
    assert blocks.read_bytes(source, made) == 800


def test_read_bytes__are_those_of_the_blocks_that_are_needed():
    source = da.from_array(np.zeros((10, 10)), chunks=5)
    assert blocks.read_bytes((source + 1)[:5].sum(axis=1)) == 400
    assert blocks.read_bytes((source + 1).rechunk(4)[:1, :1]) == 200
