"""RDM kernels: rsatoolbox's numbers, in any number of stripes and tiles, and honest about what is missing."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from pipeline.kernels import moments
from pipeline.kernels import rdm as kernels
from pipeline.kernels.patterns import SAMPLE
from pipeline.kernels.triangle import pairs
from tests.rsa_cubes import REFERENCE, patterns
from tests.shared import shared

METRICS = sorted(kernels.METRICS)


def peer(x, metric):
    """SciPy's distances of patterns (stimulus, unit), in rsatoolbox's scale."""
    x = np.asarray(x, dtype=np.float64)
    if metric == "euclidean":
        return pdist(x, "sqeuclidean") / x.shape[1]
    return pdist(x, metric)


def in_parts(block, metric, stripes, tiles):
    """The same RDM from several stripes of units and tiles of rows."""
    out = []
    units = np.array_split(np.arange(block.shape[1]), stripes)
    edges = np.linspace(0, block.shape[0], tiles + 1).astype(int)
    for rows in pairwise(edges.tolist()):
        parts = [moments.moments(block[:, u], metric=metric, rows=rows) for u in units]
        out.append(moments.merged_rdm(parts, metric=metric, rows=rows))
    return np.concatenate(out, axis=1)


def in_tiles(block, metric, tiles):
    """The same RDM from patterns that are prepared apart, part by part."""
    edges = np.linspace(0, block.shape[0], tiles + 1).astype(int)
    parts = [kernels.prepare(block, metric=metric, rows=rows) for rows in pairwise(edges.tolist())]
    return np.concatenate([kernels.prepared_rdm(parts[k:]) for k in range(tiles)], axis=1)


@pytest.mark.parametrize("metric", ["correlation", "euclidean"])
def test_rdm__equals_rsatoolbox(metric):
    vectors = np.load(shared(REFERENCE))
    block = np.moveaxis(vectors["rsa_in_cond_run_chan"], 1, 2)[:, :, None, :]  # (condition, channel, 1, run)
    np.testing.assert_allclose(kernels.rdm(block, metric=metric)[0], vectors[f"rdm_{metric}"], rtol=1e-12)


def test_rdm__equals_rsatoolbox_for_many_subjects():
    vectors = np.load(shared(REFERENCE))
    for name in ("subjects", "models"):
        found = [kernels.rdm(x[:, :, None, None], metric="correlation")[0] for x in vectors[name]]
        direct = [kernels.rdm(x[:, :, None, None], metric="euclidean")[0] for x in vectors[name]]
        wanted = vectors[f"rdm_{name}"]
        closest = min(np.abs(np.stack(rdms) - wanted).max() for rdms in (found, direct))
        assert closest < 1e-12


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("stimuli", "units"), [(2, 3), (33, 10), (300, 7), (70, 400)])
def test_rdm__equals_scipy(metric, stimuli, units):
    x = patterns(1, (stimuli, units, 2, 1))
    wanted = [peer(x[:, :, t, 0], metric) for t in range(2)]
    np.testing.assert_allclose(kernels.rdm(x, metric=metric), wanted, rtol=1e-10, atol=1e-12)
    for stripes, tiles in ((2, 1), (1, 3), (3, 2)):
        np.testing.assert_allclose(in_parts(x, metric, stripes, tiles), wanted, rtol=1e-10, atol=1e-12)


HARD = {
    "fields of 1e-13 T": lambda x, rng: x * 1e-13,
    "means of 1e4 deviations": lambda x, rng: x + 1e4,
    "one pattern shared by all": lambda x, rng: 100 + 50 * rng.standard_normal(x.shape[1:]) + 0.1 * x,
    "rectified": lambda x, rng: np.maximum(x - 1, 0),
    "amplitudes from 1e-3 to 1e3": lambda x, rng: x * 10 ** rng.uniform(-3, 3, (len(x), 1)),
}


@pytest.mark.parametrize("stimuli", [120, 3 * SAMPLE])
@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("metric", METRICS)
def test_rdm__single_precision_is_right_to_1e6(hard, metric, stimuli):
    rng = np.random.default_rng(2)
    x = HARD[hard](rng.standard_normal((stimuli, 500)), rng).astype(np.float32)
    # Cosines of patterns that differ in their eighth digit are beyond SciPy's own double precision.
    rtol = 2e-6 if (hard, metric) == ("means of 1e4 deviations", "cosine") else 1e-6
    block = x[:, :, None, None]
    np.testing.assert_allclose(kernels.rdm(block, metric=metric)[0], peer(x, metric), rtol=rtol)
    np.testing.assert_allclose(in_parts(block, metric, 3, 2)[0], peer(x, metric), rtol=rtol)
    np.testing.assert_allclose(in_tiles(block, metric, 3)[0], peer(x, metric), rtol=rtol)


@pytest.mark.parametrize(("stimuli", "complete"), [(3 * SAMPLE, 3 * SAMPLE // 4), (16 * SAMPLE, 4)])
@pytest.mark.parametrize("metric", METRICS)
def test_rdm__what_is_shared_is_found_among_incomplete_stimuli(metric, stimuli, complete):
    rng = np.random.default_rng(9)  # with which none of the four is sampled
    x = 100 + 50 * rng.standard_normal(300) + 0.1 * rng.standard_normal((stimuli, 300))
    x = x.astype(np.float32)
    gone = rng.permutation(len(x))[complete:]
    want = peer(np.delete(x, gone, axis=0), metric)
    x[gone, 7] = np.nan
    first, second = np.triu_indices(len(x), k=1)
    both = ~np.isin(first, gone) & ~np.isin(second, gone)
    np.testing.assert_allclose(kernels.rdm(x[:, :, None, None], metric=metric)[0][both], want, rtol=1e-6)


def test_rdm__euclidean_of_large_means_in_double_precision():
    x = np.random.default_rng(3).standard_normal((50, 80)) + 1e7
    found = kernels.rdm(x[:, :, None, None], metric="euclidean")[0]
    np.testing.assert_allclose(found, peer(x, "euclidean"), rtol=1e-9)


def test_rdm__correlation_of_stripes_with_different_means():
    x = np.random.default_rng(4).standard_normal((40, 60)) + np.repeat([0.0, 100.0, -10.0], 20)
    wanted = peer(x, "correlation")
    found = in_parts(x[:, :, None, None], "correlation", 3, 1)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int16", "int64"])
def test_rdm__takes_any_real_dtype_and_keeps_its_precision(dtype):
    x = np.random.default_rng(5).integers(0, 100, (12, 20, 1, 1)).astype(dtype)
    found = kernels.rdm(x, metric="euclidean")
    assert found.dtype == (np.float32 if np.can_cast(dtype, np.float32) else np.float64)
    np.testing.assert_allclose(found[0], peer(x[..., 0, 0], "euclidean"), rtol=1e-6)


@given(seed=st.integers(0, 10**6), missing=st.sampled_from([0.0, 0.1, 0.5]), stripes=st.integers(1, 4))
def test_rdm__averages_the_trials_there_are(seed, missing, stripes):
    x = patterns(seed, (9, 8, 1, 4), missing=missing)
    counts = (~np.isnan(x)).sum(axis=-1)
    means = np.where(counts > 0, np.nansum(x, axis=-1) / np.maximum(counts, 1), np.nan)[:, :, 0]
    whole = ~np.isnan(means).any(axis=1)
    first, second = np.triu_indices(9, k=1)
    for metric in METRICS:
        found = in_parts(x, metric, stripes, 2)[0]
        assert (np.isnan(found) == ~(whole[first] & whole[second])).all()
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(found, peer(means, metric), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rdm__incomplete_stimulus_is_nan_and_spoils_no_other(bad, metric, dtype):
    x = patterns(6, (20, 30, 1, 1)).astype(dtype)
    want = peer(np.delete(x[..., 0, 0], 4, axis=0), metric)
    x[4, 17] = bad
    first, second = np.triu_indices(20, k=1)
    mine = (first == 4) | (second == 4)
    tiles = in_tiles(x, metric, 3)
    for found in (kernels.rdm(x, metric=metric)[0], in_parts(x, metric, 3, 2)[0], tiles[0]):
        assert np.isnan(found[mine]).all()
        np.testing.assert_allclose(found[~mine], want, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-13, 1e9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rdm__constant_pattern_has_no_correlation(value, dtype):
    x = patterns(7, (10, 33, 1, 1)).astype(dtype)
    x[3] = value
    first, second = np.triu_indices(10, k=1)
    mine = (first == 3) | (second == 3)
    for found in (kernels.rdm(x, metric="correlation")[0], in_parts(x, "correlation", 4, 1)[0]):
        assert (np.isnan(found) == mine).all()
    zeros = kernels.rdm(np.where(x == x[3], np.zeros((), dtype), x), metric="cosine")[0]
    assert (np.isnan(zeros) == mine).all()
    assert np.isfinite(kernels.rdm(x, metric="euclidean")).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rdm__of_equal_patterns_is_zero_and_never_negative(metric, dtype):
    x = np.repeat(patterns(8, (30, 90, 1, 1)), 2, axis=0).astype(dtype)
    for found in (kernels.rdm(x, metric=metric)[0], in_parts(x, metric, 2, 2)[0]):
        first, second = np.triu_indices(60, k=1)
        same = (first // 2) == (second // 2)
        assert (found >= 0).all()
        assert found[same].max() < 1e-6 * found[~same].mean()


@pytest.mark.parametrize("metric", METRICS)
def test_rdm__changes_no_input(metric):
    x = patterns(9, (12, 10, 2, 3), missing=0.1)
    before = x.copy()
    parts = [moments.moments(x[:, s], metric=metric) for s in (slice(0, 5), slice(5, 10))]
    kept = [[np.copy(value) for value in part[:3]] for part in parts]
    moments.merged_rdm(parts, metric=metric)
    kernels.rdm(x, metric=metric)
    np.testing.assert_array_equal(x, before)
    for part, copies in zip(parts, kept, strict=True):
        for value, copy in zip(part[:3], copies, strict=True):
            np.testing.assert_array_equal(value, copy)


@pytest.mark.parametrize("metric", METRICS)
def test_prepared_rdm__of_parts_that_were_sent_has_the_same_bits(metric):
    def sent(values):  # unaligned, as they can arrive
        odd = np.empty(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
        odd[:] = values
        assert not odd.flags.aligned
        return odd

    block = patterns(5, (90, 40, 1, 1)).astype(np.float32)
    parts = [kernels.prepare(block, metric=metric, rows=rows) for rows in [(0, 30), (30, 90)]]
    moved = [part._replace(y=sent(part.y)) for part in parts]
    np.testing.assert_array_equal(kernels.prepared_rdm(moved), kernels.prepared_rdm(parts))


@pytest.mark.parametrize("shape", [(SAMPLE + 2, 6000, 1, 8), (2, 2 * 10**6, 1, 1)])
@pytest.mark.parametrize("metric", ["correlation", "euclidean"])
def test_rdm_bytes__are_those_that_are_held(shape, metric):
    block = np.random.default_rng(0).random(shape, dtype=np.float32)
    tracemalloc.start()
    kernels.rdm(block, metric=metric)
    found = tracemalloc.get_traced_memory()[1] + block.nbytes
    tracemalloc.stop()
    promised = kernels.rdm_bytes(*shape, dtype=block.dtype, rows=(0, shape[0]))
    assert 0.6 * promised < found < 1.1 * promised  # a thread's own memory is new to its first task alone


@given(stimuli=st.integers(2, 40), cut=st.floats(0, 1))
def test_pairs__count_rows_of_the_triangle(stimuli, cut):
    row = int(cut * stimuli)
    first, _ = np.triu_indices(stimuli, k=1)
    assert pairs(stimuli) == len(first)
    assert pairs(stimuli, (0, row)) == (first < row).sum()
    assert pairs(stimuli, (row, stimuli)) == (first >= row).sum()
