"""Comparators and ceilings: rsatoolbox's numbers, and what is undefined says so."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipeline.kernels.ceiling import noise_ceiling, noise_ceiling_bytes
from pipeline.kernels.comparison import METHODS, compare, prepare, prepare_bytes, score, score_bytes
from tests.rsa_cubes import REFERENCE
from tests.shared import shared


@pytest.fixture(scope="module")
def vectors():
    return np.load(shared(REFERENCE))


@pytest.mark.parametrize("method", METHODS)
def test_compare__equals_rsatoolbox(vectors, method):
    found = compare(vectors["rdm_models"], vectors["rdm_subjects"], method=method)
    np.testing.assert_allclose(found, vectors[f"compare_{method}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_noise_ceiling__equals_rsatoolbox(vectors, method):
    found = noise_ceiling(vectors["rdm_subjects"], method=method)
    np.testing.assert_allclose(found, vectors[f"nc_{method}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_compare__with_ties_equals_its_definition(method):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 60)).astype(float), rng.integers(0, 4, (3, 60)).astype(float)
    found = compare(a, b, method=method)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            assert found[i, j] == pytest.approx(by_definition(x, y, method), abs=1e-12)


def by_definition(x, y, method):
    n = len(x)
    if method == "cosine":
        return x @ y / np.sqrt((x @ x) * (y @ y))
    if method == "corr":
        return np.corrcoef(x, y)[0, 1]
    if method == "spearman":
        return spearmanr(x, y).statistic
    first, second = np.triu_indices(n, k=1)
    signs = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    if method == "tau-a":
        return signs.sum() / len(first)
    r, s = ((v[:, None] > v).sum(1) + ((v[:, None] == v).sum(1) + 1) / 2 for v in (x, y))
    return 12 * ((r - r.mean()) @ (s - s.mean())) / (n**3 - n)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_compare__vector_without_direction_scores_zero(method, value):
    other = np.random.default_rng(1).random((1, 30))
    found = compare(np.full((1, 30), value), other, method=method)[0, 0]
    if method == "cosine" and value:
        assert found > 0
    else:
        assert found == 0


@pytest.mark.parametrize("method", METHODS)
def test_compare__leaves_out_pairs_that_none_has(method):
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 40)), rng.random((3, 40))
    gone = rng.random(40) < 0.2
    want = compare(a[:, ~gone], b[:, ~gone], method=method)
    a[:, gone] = b[:, gone] = np.nan
    np.testing.assert_allclose(compare(a, b, method=method), want, atol=1e-14)
    want_ceiling = noise_ceiling(b[:, ~gone], method=method)
    np.testing.assert_allclose(noise_ceiling(b, method=method), want_ceiling, atol=1e-14)


@pytest.mark.parametrize("side", ["a", "b", "within"])
def test_compare__refuses_pairs_that_only_some_lack(side):
    a, b = np.random.default_rng(3).random((2, 2, 10))
    {"a": a[:, :2], "b": b[:, :3], "within": a[:1, :2]}[side][:] = np.nan
    with pytest.raises(ValueError, match=r"RDMs lack different pairs: .* of 10 are NaN"):
        compare(a, b, method="corr")
    with pytest.raises(ValueError, match="RDMs lack different pairs"):
        noise_ceiling(np.concatenate([a, b]), method="corr")


@pytest.mark.parametrize("method", METHODS)
def test_compare__refuses_infinite_distances(method):
    a, b = np.random.default_rng(3).random((2, 2, 10))
    b[1, 4] = np.inf
    with pytest.raises(ValueError, match="1 of 10 distances of an RDM are infinite"):
        compare(a, b, method=method)
    with pytest.raises(ValueError, match="1 of 10 distances of an RDM are infinite"):
        noise_ceiling(b, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_compare__of_nothing_is_nan(method):
    assert np.isnan(compare(np.full((1, 6), np.nan), np.full((1, 6), np.nan), method=method)).all()
    assert np.isnan(compare(np.ones((1, 1)), np.ones((2, 1)), method=method)).all()
    assert np.isnan(noise_ceiling(np.full((3, 6), np.nan), method=method)).all()


@pytest.mark.parametrize("method", METHODS)
def test_compare__changes_no_input(method):
    a = np.random.default_rng(4).random((3, 20))
    a[:, 3] = np.nan
    before = a.copy()
    compare(a, a, method=method)
    noise_ceiling(a, method=method)
    np.testing.assert_array_equal(a, before)


def test_score__walks_shared_axes_together():
    rng = np.random.default_rng(5)
    a, b = rng.random((4, 2, 20)), rng.random((4, 3, 5, 20))
    sides = [prepare(x, method="corr", shared=1) for x in (a, b)]
    found = score(*sides, method="corr")
    assert found.shape == (4, 2, 3, 5)
    for t in range(4):
        np.testing.assert_allclose(
            found[t].reshape(2, 15), compare(a[t], b[t].reshape(15, 20), method="corr")
        )


@pytest.mark.parametrize("method", METHODS)
def test_compare__rounding_takes_no_score_beyond_one(method):
    a = np.random.default_rng(8).random((300, 25))
    found = compare(a, np.concatenate([a, -a]), method=method)
    assert abs(found).max() == 1


@pytest.mark.parametrize("method", METHODS)
def test_noise_ceiling__one_subject_has_none(method):
    assert np.isnan(noise_ceiling(np.random.default_rng(6).random((1, 20)), method=method)).all()


@pytest.mark.parametrize("method", METHODS)
def test_noise_ceiling__lower_is_below_upper(method):
    rdms = np.random.default_rng(7).random((5, 60)) + np.linspace(0, 2, 60)
    lower, upper = noise_ceiling(rdms, method=method)
    assert 0 < lower < upper <= 1


def test_score__is_the_same_for_vectors_that_lie_unaligned_in_memory():
    """As those of a block that was sent may: NumPy multiplies them without BLAS, which adds in another order."""
    rng = np.random.default_rng(0)
    a, b = (prepare(rng.random((n, 4186)), method="spearman") for n in (1, 8))
    wanted = score(a, b, method="spearman")
    bytes_ = np.empty(b.vectors.nbytes + 1, np.uint8)
    moved = bytes_[1:].view(np.float64).reshape(b.vectors.shape)
    moved[:] = b.vectors
    assert not moved.flags.aligned
    assert not np.array_equal(a.vectors[0] @ moved[0].T, wanted.reshape(1, 8))  # what must not decide a score
    np.testing.assert_array_equal(score(a, b._replace(vectors=moved), method="spearman"), wanted)


def most_held(kernel, *held):
    """Bytes held at most while `kernel` runs, `held` among them."""
    kernel()
    tracemalloc.start()
    kernel()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak + sum(array.nbytes for array in held)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("vectors", [2, 8])
def test_bytes__are_those_that_are_held(vectors, method, dtype):
    pairs = 10_000
    rdms = np.random.default_rng(0).random((vectors, pairs)).astype(dtype)
    rdms[:, :500] = np.nan
    found = most_held(lambda: prepare(rdms, method=method), rdms)
    assert found == pytest.approx(prepare_bytes(vectors, pairs, rdms.itemsize, method=method), rel=0.35)
    found = most_held(lambda: noise_ceiling(rdms, method=method), rdms)
    assert found == pytest.approx(noise_ceiling_bytes(vectors, pairs, rdms.itemsize, method=method), rel=0.25)
    a, b = prepare(rdms[:1], method=method), prepare(rdms, method=method)
    found = most_held(lambda: score(a, b, method=method), a.vectors, b.vectors)
    assert found == pytest.approx(score_bytes(1, vectors, pairs, method=method), rel=0.25)
