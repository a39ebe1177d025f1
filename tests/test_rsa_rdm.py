"""`rsa.rdm`: the kernel's numbers with labels, lazily, whatever the chunks and the scheduler."""

import gc
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from pipeline import rsa
from pipeline.errors import PlanError
from pipeline.kernels import rdm as kernels
from pipeline.rsa.layout import layout
from stores.dims import CUBE
from stores.specs import RDM
from tests.rsa_cubes import cube, patterns
from tests.workers import workers

METRICS = sorted(kernels.METRICS)
SHAPE = (17, 12, 4, 3)
TIGHT = kernels.SCRATCH + 9000
"""Bytes of a task that hold a few units, one time and a tile of this shape."""


@pytest.mark.parametrize("metric", METRICS)
def test_rdm__is_the_kernel_with_labels(metric):
    made = cube(patterns(0, SHAPE), subject="sub-1")
    rdm = stores.validate(rsa.rdm(made, metric=metric), RDM)
    np.testing.assert_array_equal(rdm.values, kernels.rdm(made.values, metric=metric))
    first, second = np.triu_indices(SHAPE[0], k=1)
    ids = made.stimulus.values
    assert list(rdm.stimulus_a.values) == list(ids[first])
    assert list(rdm.stimulus_b.values) == list(ids[second])
    np.testing.assert_array_equal(rdm.time, made.time)
    assert rdm.attrs["metric"] == metric
    assert rdm.attrs["subject"] == "sub-1"


def test_rdm__building_computes_nothing(computing_forbidden):
    made = cube(patterns(0, SHAPE))
    with computing_forbidden():
        for one in (made, made.chunk(stimulus=5, unit=5, time=1, repeat=2)):
            rdm = rsa.rdm(one, task_bytes=TIGHT)
            assert rdm.chunks is not None


@settings(max_examples=25)
@given(
    stimulus=st.integers(1, 17),
    unit=st.integers(1, 12),
    time=st.integers(1, 4),
    repeat=st.integers(1, 3),
    task_bytes=st.sampled_from([TIGHT, kernels.SCRATCH + 20_000, 2**28]),
    missing=st.sampled_from([0.0, 0.05]),
    metric=st.sampled_from(METRICS),
)
def test_rdm__ignores_chunking(stimulus, unit, time, repeat, task_bytes, missing, metric):
    made = cube(patterns(unit, SHAPE, missing=missing))
    chunked = made.chunk(stimulus=stimulus, unit=unit, time=time, repeat=repeat)
    found = rsa.rdm(chunked, metric=metric, task_bytes=task_bytes).compute(scheduler="synchronous")
    np.testing.assert_allclose(found.values, kernels.rdm(made.values, metric=metric), rtol=1e-9, atol=1e-12)


def test_rdm__tight_memory_cuts_time_units_and_tiles():
    made = cube(patterns(0, (60, 200, 3, 1)))
    rdm = rsa.rdm(made, task_bytes=kernels.SCRATCH + 40_000)
    names = {dask.utils.key_split(key) for key in dict(rdm.__dask_graph__())}
    assert {"rdm-correlation", "rdm-correlation-stripe", "rdm-correlation-merge"} <= names
    assert len(rdm.data.chunks[0]) == 3
    assert len(rdm.data.chunks[1]) > 1
    np.testing.assert_allclose(rdm.values, kernels.rdm(made.values, metric="correlation"), rtol=1e-9)


def by_every_scheduler(lazy):
    """Values of `lazy` by the synchronous scheduler, threads, and clusters of one and two workers."""
    with dask.config.set(scheduler="synchronous"):
        yield "synchronous", lazy.values
    for threads in (1, 2):
        with dask.config.set(scheduler="threads", num_workers=threads):
            yield f"{threads} threads", lazy.values
    for count in (1, 2):
        with workers(count):
            yield f"{count} workers", lazy.values


def test_rdm__same_bits_on_every_scheduler(tmp_path):
    """Large enough that two BLAS threads would round differently from one: they did, in this shape."""
    shape = (700, 300, 4, 1)
    made = cube(patterns(0, shape), subject="sub-1")
    stores.save(tmp_path, "brain", made.assign_coords(channel=made.unit), made_from={"seed": 0})
    opened = stores.open_cube(tmp_path, "brain")
    stacked = [rsa.rdm(opened, metric=metric, task_bytes=30 * 2**20) for metric in METRICS]
    lazy = xr.concat(stacked, "metric", coords="minimal", compat="override")
    require_same_bits(lazy)


def test_rdm__in_memory_prepares_once_for_all_tiles(monkeypatch):
    monkeypatch.setattr("pipeline.rsa.layout.WORTH_A_TILE", 1e6)
    made = cube(patterns(0, (700, 30, 1, 1), missing=1e-4).astype(np.float32))
    stacked = [rsa.rdm(made, metric=metric) for metric in METRICS]
    for metric, rdm in zip(METRICS, stacked, strict=True):
        names = [dask.utils.key_split(key) for key in dict(rdm.__dask_graph__())]
        tiles = len(rdm.data.chunks[1])
        assert tiles > 2
        assert names.count(f"rdm-{metric}-patterns") == names.count(f"rdm-{metric}") == tiles
        np.testing.assert_allclose(rdm.values, kernels.rdm(made.values, metric=metric), rtol=1e-6, atol=1e-9)
    require_same_bits(xr.concat(stacked, "metric", coords="minimal", compat="override"), missing=True)


def require_same_bits(lazy, missing=False):
    results = dict(by_every_scheduler(lazy))
    reference = results["synchronous"]
    assert missing or np.isfinite(reference).all()
    assert [name for name, found in results.items() if found.tobytes() != reference.tobytes()] == []


def test_rdm__names_are_shared_and_not_kept():
    made = cube(patterns(0, SHAPE))
    first, second = (rsa.rdm(made, metric=metric).coords["stimulus_a"].values for metric in METRICS[:2])
    assert second is first
    held = weakref.ref(first)
    del first, second
    rsa.rdm(made.isel(stimulus=slice(0, 5)))
    gc.collect()
    assert held() is None


def test_rdm__changes_no_input():
    made = cube(patterns(0, SHAPE, missing=0.1))
    before = made.copy(deep=True)
    rsa.rdm(made).compute()
    xr.testing.assert_identical(made, before)


def test_rdm__reads_a_stored_cube_in_its_own_blocks(tmp_path):
    made = cube(patterns(0, SHAPE).astype(np.float32), subject="sub-1")
    made = made.assign_coords(channel=made.unit)
    stores.save(tmp_path, "brain", made, made_from={"seed": 0})
    opened = stores.open_cube(tmp_path, "brain")
    found = rsa.rdm(opened, task_bytes=TIGHT)
    np.testing.assert_allclose(found.values, kernels.rdm(made.values, metric="correlation"), rtol=1e-6)


NEAR = {"corelation": "correlation", "euclid": "euclidean", "Cosine": "cosine"}


@pytest.mark.parametrize(("wrong", "near"), NEAR.items())
def test_rdm__unknown_metric_offers_a_near_match(wrong, near):
    with pytest.raises(
        ValueError, match=rf"unknown metric '{wrong}'; choose one of .* Did you mean '{near}'\?"
    ):
        rsa.rdm(cube(patterns(0, SHAPE)), metric=wrong)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.isel(time=0), "dims"),
        (lambda c: c.drop_vars("stimulus"), "no stimulus ids"),
        (lambda c: c.isel(stimulus=[0]), "1 stimuli"),
        (lambda c: c.isel(unit=[]), "no unit"),
        (lambda c: c.isel(time=[]), "no time"),
        (lambda c: c.isel(stimulus=[0, 1, 0]), "has stimuli more than once, such as"),
        (lambda c: c.values, "this is a ndarray"),
        (lambda c: c.to_dataset(name="x"), "this is a Dataset"),
        (lambda c: c.astype(complex), "complex128"),
    ],
)
def test_rdm__refuses_what_is_no_cube(spoil, message):
    with pytest.raises(stores.SchemaError, match=message):
        rsa.rdm(spoil(cube(patterns(0, SHAPE))))


def test_rdm__refuses_with_numbers_what_cannot_fit():
    with pytest.raises(PlanError, match=r"needs 17 MB for one unit at one time, and a task may hold 1 MB"):
        rsa.rdm(cube(patterns(0, SHAPE)), task_bytes=10**6)


@settings(max_examples=60)
@given(
    sizes=st.tuples(
        st.integers(2, 3000),
        st.integers(1, 5000) | st.integers(10**5, 10**7),
        st.integers(1, 50),
        st.integers(1, 30),
    ),
    task_bytes=st.integers(2**26, 2**29),
    lazy=st.booleans(),
)
def test_layout__keeps_what_it_promises(sizes, task_bytes, lazy):
    # Neither takes memory: `da.from_array` would copy what is one block.
    values = da.zeros(sizes, np.float32, chunks=-1) if lazy else np.broadcast_to(np.float32(0), sizes)
    made = xr.DataArray(values, dims=CUBE)
    found = layout(made, task_bytes)
    assert found.peak <= task_bytes
    assert found.times <= sizes[2]
    assert found.units <= sizes[1]
    covered = [row for tile in found.rows for row in range(*tile)]
    assert covered == list(range(sizes[0]))
