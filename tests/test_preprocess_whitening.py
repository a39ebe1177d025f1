"""Noise normalisation: noise gets unit covariance, and is learned from training stimuli alone."""

import numpy as np
import pytest
import xarray as xr
from rsatoolbox.data.noise import cov_from_residuals

import stores
from pipeline.errors import VerbError
from pipeline.kernels import whitening as kernels
from pipeline.plan import plan
from pipeline.preprocess import whiten, whitener
from stores.dims import CUBE
from stores.errors import SchemaError

STIMULI, CHANNELS, TIMES, REPEATS = 30, 8, 12, 10
SHRINKAGES = ["shrinkage_diag", "shrinkage_eye", "diag", "full"]


def mixing(rng):
    return (np.eye(CHANNELS) + 0.4 * rng.normal(size=(CHANNELS, CHANNELS))) * np.logspace(0, 1, CHANNELS)[
        :, None
    ]


def noisy(seed=0, missing=0.0, stimuli=STIMULI):
    """Patterns of the stimuli in the second half of the times, and noise that is shared between channels."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(stimuli, CHANNELS, TIMES, REPEATS))
    signal = 5 * rng.normal(size=(stimuli, CHANNELS, 1, 1)) * (np.arange(TIMES) >= 6)[:, None]
    values = (signal + np.einsum("uv,svtr->sutr", mixing(np.random.default_rng(99)), white)) * 1e-13
    values[(rng.random((stimuli, REPEATS)) < missing)[:, None, None, :] & np.ones(values.shape, bool)] = (
        np.nan
    )
    names = np.array([f"MEG{n}" for n in range(CHANNELS)], object)
    coords = {
        "stimulus": np.array([f"s{n:02d}" for n in range(stimuli)], object),
        "unit": names,
        "channel": ("unit", names),
        "time": np.round((np.arange(TIMES) - 6) * 0.01, 3),
        "repeat": np.arange(REPEATS),
    }
    attrs = {"modality": "meg_epochs", "quantity": "field", "units": "T", "dataset": "d", "subject": "s"}
    return xr.DataArray(values, dims=CUBE, coords=coords, attrs=attrs)


def covariance(cube):
    """Of what is left of trials when the mean of their stimulus is taken out; mean over times."""
    found = []
    for t in range(cube.sizes["time"]):
        left, dof = kernels.residuals(cube.values[:, :, t], by_stimulus=True)
        found.append(left.T @ left / dof)
    return np.mean(found, axis=0)


@pytest.mark.parametrize("noise", ["trials", "baseline"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_whiten__noise_gets_unit_covariance(noise, missing):
    cube = noisy(missing=missing)
    by = whitener(cube, train="all", noise=noise, shrinkage="full")
    made = stores.validate(whiten(cube, by).compute())
    np.testing.assert_allclose(covariance(made), np.eye(CHANNELS), atol=1e-9 if noise == "trials" else 0.25)
    assert np.abs(covariance(cube) * 1e26 - np.eye(CHANNELS)).max() > 10
    assert made.attrs["units"] == "a.u."


def test_whiten__fresh_noise_is_nearly_white():
    by = whitener(noisy(0, stimuli=200), train="all")
    other = whiten(noisy(1, stimuli=200), by).compute()
    np.testing.assert_allclose(covariance(other), np.eye(CHANNELS), atol=0.2)
    assert np.abs(covariance(noisy(1, stimuli=200)) * 1e26 - np.eye(CHANNELS)).max() > 10


@pytest.mark.parametrize("noise", ["trials", "baseline"])
def test_whitener__does_not_see_test_stimuli(noise):
    cube = noisy()
    train = list(cube.stimulus.values[5:])
    other = cube.copy()
    other[:5] = np.random.default_rng(5).normal(size=other[:5].shape)
    before, after = (whitener(one, train=train, noise=noise).values for one in (cube, other))
    np.testing.assert_array_equal(before, after)
    assert not np.array_equal(before, whitener(other, train="all", noise=noise).values)
    a, b = (
        whiten(one, whitener(one, train=train, noise=noise)).sel(stimulus=train).values
        for one in (cube, other)
    )
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", SHRINKAGES)
@pytest.mark.parametrize("shape", [(40, 6), (10, 25)])
def test_shrunk__equals_rsatoolbox(how, shape):
    left = np.random.default_rng(0).normal(size=shape) @ np.random.default_rng(1).normal(size=(shape[1],) * 2)
    left -= left.mean(axis=0)
    for dof in (shape[0] - 1, shape[0] - 4):
        wanted = cov_from_residuals(left, dof=dof, method=how)
        np.testing.assert_allclose(kernels.shrunk(left, dof, how), wanted, rtol=1e-10, atol=1e-12)


def test_residuals__a_stimulus_seen_once_tells_nothing():
    trials = np.random.default_rng(0).normal(size=(3, 2, 4))
    trials[1, 0, 1:] = np.nan
    left, dof = kernels.residuals(trials, by_stimulus=True)
    assert (left.shape, dof) == ((8, 2), 6)
    np.testing.assert_allclose(left[:4].T, trials[0] - trials[0].mean(axis=1, keepdims=True))
    left, dof = kernels.residuals(trials, by_stimulus=False)
    assert (left.shape, dof) == ((9, 2), 8)


def test_whitener__is_the_mean_over_times_of_shrunk_covariances():
    cube = noisy(missing=0.1)
    made = whitener(cube, train="all", shrinkage="shrinkage_eye").values
    each = []
    for t in range(TIMES):
        rows = [cube.values[s, :, t].T for s in range(STIMULI)]
        rows = [one[np.isfinite(one).all(axis=1)] for one in rows]
        left = np.concatenate([one - one.mean(axis=0) for one in rows if len(one) > 1])
        each.append(cov_from_residuals(left, dof=sum(len(one) - 1 for one in rows), method="shrinkage_eye"))
    np.testing.assert_allclose(made @ np.mean(each, axis=0) @ made, np.eye(CHANNELS), atol=1e-9)
    np.testing.assert_allclose(made, made.T)


def test_whiten__is_lazy_and_ignores_chunks(computing_forbidden):
    cube = noisy(missing=0.1)
    whole = whiten(cube, whitener(cube, train="all"))
    with computing_forbidden():
        cut = cube.chunk(stimulus=7, unit=3, time=5, repeat=4)
        by = whitener(cut, train="all", task_bytes=150_000)
        lazy = whiten(cut, by)
        assert plan(lazy).tasks > plan(by).tasks > 5
    np.testing.assert_allclose(by.values, whitener(cube, train="all").values, rtol=1e-9)
    np.testing.assert_allclose(lazy.values, whole.values, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(lazy.isnull(), cube.isnull())


def test_whiten__a_missing_channel_makes_the_trial_missing():
    cube = noisy()
    cube[3, 2, :, 1] = np.nan
    made = whiten(cube, whitener(cube, train="all")).compute()
    assert made[3, :, :, 1].isnull().all()
    assert int(made.isnull().sum()) == CHANNELS * TIMES


def test_whiten__channels_go_by_name():
    cube = noisy()
    by = whitener(cube, train="all").compute()
    turned = cube.isel(unit=slice(None, None, -1))
    np.testing.assert_allclose(
        whiten(turned, by).isel(unit=slice(None, None, -1)), whiten(cube, by), rtol=1e-8
    )


def test_whitener__directions_without_noise_become_zero():
    cube = noisy()
    cube = (cube - cube.mean("unit")).assign_attrs(cube.attrs)  # an average reference
    by = whitener(cube, train="all", shrinkage="full")
    assert np.linalg.matrix_rank(by.values, tol=1e-3 * np.linalg.norm(by.values)) == CHANNELS - 1
    assert np.abs(whiten(cube, by)).max() < 200


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"train": ["s99", "s00"]}, VerbError, "1 training stimuli are not in the cube, such as 's99'"),
        ({}, {"train": []}, VerbError, "no training stimuli"),
        ({}, {"train": "train"}, VerbError, "train is 'train'.*or \"all\""),
        ({}, {"train": "all", "noise": "rest"}, ValueError, "'rest'; choose one of trials, baseline"),
        ({}, {"train": "all", "shrinkage": "lw"}, ValueError, "'lw'; choose one of shrinkage_eye"),
        ({"repeat": [0]}, {"train": "all"}, VerbError, 'seen once.*noise="baseline"'),
        ({"time": slice(6, None)}, {"train": "all", "noise": "baseline"}, VerbError, "begins at 0 s"),
        ({"repeat": 0}, {"train": "all"}, SchemaError, "dims"),
    ],
)
def test_whitener__says_what_is_wrong(change, options, error, message):
    with pytest.raises(error, match=message):
        whitener(noisy().isel(change), **options)


def test_whitener__says_where_no_trial_is_whole():
    cube = noisy()
    cube[:, 1] = np.nan
    with pytest.raises(ValueError, match="seen twice without a missing value"):
        whitener(cube, train="all").compute()


def test_whiten__says_where_channels_differ():
    by = whitener(noisy(), train="all")
    with pytest.raises(VerbError, match="differ in 1 channels, such as 'MEG3'"):
        whiten(noisy().drop_sel(unit="MEG3"), by)
