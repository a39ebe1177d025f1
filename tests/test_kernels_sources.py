"""Kernels of sources: what they cost, what regions need, and single cases."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array

from pipeline.kernels import sources as kernels
from pipeline.kernels.envelope import envelope

SHAPE = (40, 30, 100, 2)


def given(shape=SHAPE, units=200, orientations=3):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    weights = rng.standard_normal((units, orientations, shape[1]))
    regions = csr_array(rng.random((20, units)) * (rng.random((20, units)) < 0.1) + np.eye(20, units))
    return x, weights, regions


@pytest.mark.parametrize("join", ["sum", "max"])
@pytest.mark.parametrize("pool", kernels.POOLS)
def test_estimate__is_what_its_equations_say(pool, join):
    x, weights, regions = given()
    found = kernels.estimate([x[:, :10], x[:, 10:]], weights, [kernels.Step(regions, join)], pool=pool)
    signed = np.einsum("uoc,sctr->uosrt", weights, x)
    pooled = signed if pool == "signed" else np.sqrt((signed**2).sum(axis=1, keepdims=True))
    if join == "sum":
        wanted = np.einsum("lu,uosrt->losrt", regions.toarray(), pooled)
    else:
        wanted = np.stack([np.abs(pooled[row > 0]).max(axis=0) for row in regions.toarray()])
    stimuli, _, times, repeats = SHAPE
    wanted = wanted.reshape(-1, stimuli, repeats, times).transpose(1, 0, 3, 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_needed__gives_the_same_from_fewer_sources():
    x, weights, regions = given()
    second = csr_array(np.eye(20)[[3, 7]])
    steps = [kernels.Step(regions), kernels.Step(second)]
    cut, rows = kernels.needed(steps, np.array([1]))
    assert set(rows) == set(regions[[7]].indices)
    assert len(rows) < len(weights)
    some = kernels.estimate([x], weights[rows], cut)
    np.testing.assert_allclose(some[:, 0], kernels.estimate([x], weights, steps)[:, 1], rtol=1e-10)


def test_estimate__has_no_largest_of_nothing():
    x, weights, _ = given()
    with pytest.raises(ValueError, match="without units"):
        kernels.estimate([x], weights, [kernels.Step(csr_array((2, 200)), "max")])


@pytest.mark.parametrize("pool", kernels.POOLS)
@pytest.mark.parametrize("join", ["sum", "max", ""])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_estimate__holds_what_it_says(pool, join, whole, dtype, monkeypatch):
    # Trials are to be larger than what is made at once; filters of many signals are slow.
    monkeypatch.setattr(kernels, "SCRATCH", 2**18 if whole else 2**20)
    x, weights, regions = given((6, 30, 100, 1), units=40) if whole else given()
    x = x.astype(dtype)
    steps = [kernels.Step(regions, join)] if join else []
    options = {"pool": pool, "envelope": partial(envelope, sfreq=200.0, band=(8.0, 12.0)) if whole else None}
    kernels.estimate([x[:2]], weights, steps, **options)  # whatever is loaded once
    said = (
        kernels.estimate_bytes(x.shape, x.itemsize, weights.shape[:2], steps, pool=pool, whole=whole)
        - x.nbytes
    )
    tracemalloc.start()
    kernels.estimate([x], weights, steps, **options)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held <= said
    assert held >= 0.25 * said
