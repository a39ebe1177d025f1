"""`rsa.compare`, `noise_ceiling` and `evaluate`: joined by name, lazy, rsatoolbox's numbers."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from pipeline import rsa
from pipeline.kernels import ceiling, comparison
from pipeline.kernels.comparison import METHODS
from stores.dims import PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME
from stores.specs import CEILING, RDM_STACK, RSA
from tests.rsa_cubes import REFERENCE, cube, patterns, stack
from tests.shared import shared


@pytest.fixture(scope="module")
def subjects():
    return stores.validate(
        stack([cube(patterns(seed, (9, 14, 3, 2))) for seed in range(4)]).compute(), RDM_STACK
    )


@pytest.fixture(scope="module")
def networks():
    """One RDM per layer, with a single time."""
    return {
        f"net/layer{i}": rsa.rdm(cube(patterns(50 + i, (9, 20, 1, 1)), network="net", layer=f"layer{i}"))
        for i in range(3)
    }


def reference_stack(vectors, name, dim):
    values = vectors[name]
    first, second = np.triu_indices(12, k=1)
    ids = np.array([f"s{i}" for i in range(12)], dtype=object)
    coords = {STIMULUS_A: (PAIR, ids[first]), STIMULUS_B: (PAIR, ids[second])}
    return xr.DataArray(values, dims=(dim, PAIR), coords=coords)


@pytest.mark.parametrize("method", METHODS)
def test_compare__equals_rsatoolbox(method):
    vectors = np.load(shared(REFERENCE))
    models = reference_stack(vectors, "rdm_models", "candidate")
    people = reference_stack(vectors, "rdm_subjects", SUBJECT)
    scores = rsa.compare(models, people, method=method)
    assert scores.dims == ("candidate", SUBJECT)
    np.testing.assert_allclose(scores.values, vectors[f"compare_{method}"], rtol=0, atol=1e-12)
    bounds = rsa.noise_ceiling(people, method=method)
    np.testing.assert_allclose(bounds.values, vectors[f"nc_{method}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_compare__is_the_kernel_with_labels(subjects, networks, method):
    scores = rsa.compare(networks["net/layer0"], subjects, method=method)
    assert scores.dims == ("time", SUBJECT)
    for t in range(3):
        want = comparison.compare(networks["net/layer0"].values, subjects.values[:, t], method=method)[0]
        np.testing.assert_allclose(scores.values[t], want, atol=1e-14)
    np.testing.assert_array_equal(scores.time, subjects.time)
    assert list(scores.subject.values) == list(subjects.subject.values)


def test_compare__walks_time_together_and_combines_the_rest(subjects):
    other = subjects.rename({SUBJECT: "candidate"}).transpose(PAIR, "candidate", "time")
    scores = rsa.compare(other, subjects, method="corr")
    assert scores.dims == ("candidate", "time", SUBJECT)
    np.testing.assert_allclose(np.einsum("sts->st", scores.values), 1)
    own = rsa.compare(subjects, subjects, method="spearman")  # one with one: the subjects are the same
    assert own.dims == (SUBJECT, "time")
    np.testing.assert_allclose(own.values, 1)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_compare__joins_pairs_by_name(seed):
    rng = np.random.default_rng(seed)
    a = rsa.rdm(cube(patterns(0, (7, 8, 1, 1))))
    b = rsa.rdm(cube(patterns(1, (7, 8, 1, 1))))
    want = rsa.compare(a, b, method="corr").values
    order = rng.permutation(7)
    shuffled = rsa.rdm(cube(patterns(1, (7, 8, 1, 1))).isel(stimulus=order))
    np.testing.assert_allclose(rsa.compare(a, shuffled, method="corr").values, want, atol=1e-12)
    np.testing.assert_allclose(rsa.compare(shuffled, a, method="corr").values, want, atol=1e-12)
    drawn = b.isel(pair=rng.permutation(21))
    np.testing.assert_allclose(rsa.compare(a, drawn, method="corr").values, want, atol=1e-12)


def test_compare__refuses_other_stimuli():
    whole = cube(patterns(0, (9, 8, 1, 1)))
    a, b = rsa.rdm(whole.isel(stimulus=slice(0, 7))), rsa.rdm(whole.isel(stimulus=slice(1, 9)))
    with pytest.raises(
        ValueError, match=r"21 and 28, 15 in common.*1 stimuli only in the first RDM, such as 's00'"
    ):
        rsa.compare(a, b)
    with pytest.raises(ValueError, match=r"1 pairs only in the first RDM, such as \('s00', 's01'\)"):
        rsa.compare(rsa.rdm(whole), rsa.rdm(whole).isel(pair=slice(1, None)))
    twice = rsa.rdm(whole).isel(pair=[0, 0, 1])
    with pytest.raises(ValueError, match="the second RDM holds 1 pairs of stimuli twice"):
        rsa.compare(rsa.rdm(whole), twice)


def test_compare__refuses_a_shared_dim_with_other_values(subjects):
    with pytest.raises(ValueError, match=r"both RDMs have 'subject', with different values: 4 beg.*'sub-0'"):
        rsa.compare(subjects, subjects.isel({SUBJECT: [1, 0, 2, 3]}))
    with pytest.raises(ValueError, match="both RDMs have 'time'"):
        rsa.compare(subjects, subjects.isel(time=[0, 1]))


@pytest.mark.parametrize("dim", [SUBJECT, TIME])
def test_compare__one_of_a_dim_with_all_of_it(subjects, dim):
    one = subjects.isel({dim: 1})
    wanted = rsa.compare(one.drop_vars(dim), subjects)
    assert wanted.indexes[dim].equals(subjects.indexes[dim])
    xr.testing.assert_identical(rsa.compare(one, subjects).compute(), wanted.compute())
    both_ways = rsa.compare(subjects, one).transpose(*wanted.dims)
    xr.testing.assert_allclose(both_ways, wanted)


def test_compare__keeps_the_coordinates_in_which_both_agree(subjects):
    first, other = (subjects.isel({SUBJECT: n}).assign_coords(session="one") for n in (0, 1))
    found = rsa.compare(first, other)
    assert SUBJECT not in found.coords
    assert found.coords["session"].item() == "one"
    assert rsa.compare(first, first).coords[SUBJECT].item() == first.coords[SUBJECT].item()


@pytest.mark.parametrize("dim", [SUBJECT, PAIR])
def test_compare__refuses_what_is_empty(subjects, dim):
    with pytest.raises(stores.SchemaError, match=rf"the first RDM is empty: it has .*'{dim}': 0"):
        rsa.compare(subjects.isel({dim: []}), subjects.isel({dim: []}))


def test_compare__pairs_that_only_some_lack_are_an_error_when_computed(subjects):
    holed = subjects.where(subjects.stimulus_a != "s00")
    lazy = rsa.compare(holed, subjects)
    with pytest.raises(ValueError, match="RDMs lack different pairs: 8 of 36 are NaN in one, 0 in another"):
        lazy.compute()
    assert np.isfinite(rsa.compare(holed, holed)).all()


@pytest.mark.parametrize("verb", ["compare", "noise_ceiling", "evaluate"])
def test_verbs__unknown_method_offers_a_near_match(subjects, networks, verb):
    calls = {
        "compare": lambda: rsa.compare(subjects, subjects, method="spearmann"),
        "noise_ceiling": lambda: rsa.noise_ceiling(subjects, method="spearmann"),
        "evaluate": lambda: rsa.evaluate(networks, subjects, method="spearmann"),
    }
    with pytest.raises(ValueError, match=r"unknown method 'spearmann'.* Did you mean 'spearman'\?"):
        calls[verb]()


def test_compare__refuses_what_is_no_rdm(subjects):
    with pytest.raises(stores.SchemaError, match="the second RDM has dims"):
        rsa.compare(subjects, cube(patterns(0, (9, 8, 1, 1))))
    with pytest.raises(stores.SchemaError, match="no coordinate 'stimulus_b'"):
        rsa.compare(subjects.drop_vars(STIMULUS_B), subjects)


@pytest.mark.parametrize("wrong", [np.zeros((3, 36)), [0.1, 0.2], xr.Dataset()])
def test_verbs__say_what_else_they_were_given(subjects, networks, wrong):
    what = f"is a {type(wrong).__name__}; wanted an xarray.DataArray, as `rdm` makes"
    with pytest.raises(stores.SchemaError, match=f"the first RDM {what}"):
        rsa.compare(wrong, subjects)
    with pytest.raises(stores.SchemaError, match=f"the second RDM {what}"):
        rsa.compare(subjects, wrong)
    with pytest.raises(stores.SchemaError, match=f"the stack of RDMs {what}"):
        rsa.noise_ceiling(wrong)
    with pytest.raises(stores.SchemaError, match=f"the reference {what}"):
        rsa.evaluate(networks, wrong)
    with pytest.raises(stores.SchemaError, match=f"candidate 'net/a' {what}"):
        rsa.evaluate({"net/a": wrong}, subjects)


def test_evaluate__wants_candidates_by_name(subjects, networks):
    with pytest.raises(stores.SchemaError, match="candidates are a list; wanted RDMs by name"):
        rsa.evaluate(list(networks.values()), subjects)


@settings(max_examples=15)
@given(
    subject=st.integers(1, 4),
    time=st.integers(1, 3),
    pair=st.integers(1, 36),
    tight=st.booleans(),
    method=st.sampled_from(METHODS),
)
def test_verbs__ignore_chunking(subjects, networks, subject, time, pair, tight, method):
    chunked = subjects.chunk(subject=subject, time=time, pair=pair)
    options = {"method": method, "task_bytes": 9000 if tight else 2**28}
    scores = rsa.compare(networks["net/layer0"], chunked, **options).compute(scheduler="synchronous")
    np.testing.assert_allclose(
        scores, rsa.compare(networks["net/layer0"], subjects, method=method), atol=1e-12
    )
    bounds = rsa.noise_ceiling(chunked, method=method).compute(scheduler="synchronous")
    np.testing.assert_allclose(bounds, rsa.noise_ceiling(subjects, method=method), atol=1e-12)


def test_noise_ceiling__is_the_kernel_at_every_time(subjects):
    bounds = stores.validate(rsa.noise_ceiling(subjects, method="spearman"), CEILING)
    assert list(bounds.bound.values) == ["lower", "upper"]
    for t in range(3):
        np.testing.assert_array_equal(
            bounds[:, t], ceiling.noise_ceiling(subjects.values[:, t], method="spearman")
        )


def test_noise_ceiling__needs_subjects(subjects):
    with pytest.raises(stores.SchemaError, match="needs RDMs along 'subject'"):
        rsa.noise_ceiling(subjects.isel({SUBJECT: 0}))
    with pytest.raises(stores.SchemaError, match="needs RDMs along 'subject'"):
        rsa.noise_ceiling(subjects.isel({SUBJECT: []}))
    one = rsa.noise_ceiling(subjects.isel({SUBJECT: [0]}))
    assert np.isnan(one).all(), "leaving out the only one leaves nobody"


@pytest.mark.parametrize("method", METHODS)
def test_evaluate__brings_scores_and_ceilings_together(subjects, networks, method):
    result = stores.validate(rsa.evaluate(networks, subjects, method=method), RSA).compute()
    assert list(result.candidate.values) == list(networks)
    assert list(result.network.values) == ["net"] * 3
    assert list(result.layer.values) == ["layer0", "layer1", "layer2"]
    for i, rdm in enumerate(networks.values()):
        each = rsa.compare(rdm, subjects, method=method)
        np.testing.assert_allclose(
            result[i], rsa.compare(rdm, subjects.mean(SUBJECT), method=method), atol=1e-12
        )
        np.testing.assert_allclose(result.subject_score[i], each.mean(SUBJECT), atol=1e-12)
        np.testing.assert_allclose(result.sem[i], each.std(SUBJECT, ddof=1) / 2, atol=1e-12)
    bounds = rsa.noise_ceiling(subjects, method=method)
    np.testing.assert_allclose(result.ceiling_lower, bounds.sel(bound="lower"), atol=1e-12)
    np.testing.assert_allclose(result.ceiling_upper, bounds.sel(bound="upper"), atol=1e-12)


def test_evaluate__takes_labels_from_the_name_where_the_rdm_has_none(subjects, networks):
    bare = {name: rdm.assign_attrs(network="", layer="") for name, rdm in networks.items()}
    result = rsa.evaluate({"timm:x/blocks/0": bare["net/layer0"], "pixels": bare["net/layer1"]}, subjects)
    assert list(result.network.values) == ["timm:x", "pixels"]
    assert list(result.layer.values) == ["blocks/0", "pixels"]


def test_evaluate__one_subject_has_neither_error_bar_nor_ceiling(subjects, networks):
    result = rsa.evaluate(networks, subjects.isel({SUBJECT: [0]})).compute()
    assert np.isnan(result.sem).all()
    assert np.isnan(result.ceiling_lower).all()
    assert np.isnan(result.ceiling_upper).all()
    np.testing.assert_allclose(result, result.subject_score, atol=1e-12)


def test_evaluate__refuses_what_does_not_fit(subjects, networks):
    with pytest.raises(ValueError, match="no candidate"):
        rsa.evaluate({}, subjects)
    with pytest.raises(stores.SchemaError, match="not a valid rdm_stack"):
        rsa.evaluate(networks, subjects.isel({SUBJECT: 0}))
    with pytest.raises(stores.SchemaError, match="candidate 'a/b' has dims"):
        rsa.evaluate({"a/b": subjects}, subjects)
    with pytest.raises(ValueError, match=r"candidate 'a/b' has 2 times, which are not the 3"):
        rsa.evaluate({"a/b": rsa.rdm(cube(patterns(0, (9, 8, 2, 1))))}, subjects)
    with pytest.raises(ValueError, match="candidate 'a/b' and the reference hold different pairs"):
        rsa.evaluate({"a/b": rsa.rdm(cube(patterns(0, (8, 8, 1, 1))))}, subjects)


def test_verbs__building_computes_nothing(computing_forbidden, subjects, networks):
    with computing_forbidden():
        lazy = [
            rsa.compare(networks["net/layer0"], subjects),
            rsa.noise_ceiling(subjects.chunk(pair=5)),
            rsa.evaluate(networks, subjects),
        ]
    assert all(one.chunks is not None for one in lazy)


def test_verbs__change_no_input(subjects, networks):
    before = subjects.copy(deep=True)
    rsa.evaluate(networks, subjects, method="spearman").compute()
    rsa.compare(subjects, subjects.isel(pair=slice(None, None, -1)), method="rho-a").compute()
    xr.testing.assert_identical(subjects, before)


def test_evaluate__result_is_stored_and_comes_back(subjects, networks, tmp_path):
    result = rsa.evaluate(networks, subjects).compute()
    stores.save(tmp_path, "rsa/made-up", result, made_from={"seed": 0})
    opened = stores.open_cube(tmp_path, "rsa/made-up").compute()
    np.testing.assert_array_equal(opened.values, result.values)
    np.testing.assert_array_equal(opened.sem.values, result.sem.values)
