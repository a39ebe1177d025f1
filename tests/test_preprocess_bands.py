"""Band envelopes: the modulation of a carrier comes back, in its band alone; magnitudes are refused."""

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import VerbError
from pipeline.kernels.envelope import envelope, filter_samples
from pipeline.plan import plan
from pipeline.preprocess import (
    BANDS,
    EpochSettings,
    Triggers,
    band_envelope,
    band_envelopes,
    cut_epochs,
    epochs_cube,
    find_trials,
)
from stores.dims import CUBE
from stores.errors import InputError, SchemaError
from stores.specs import SOURCES
from stores.validate import validate
from tests import recordings

SFREQ = 250.0
TIMES = np.arange(-500, 1500) / SFREQ
MODULATION = 1 + 0.6 * np.sin(2 * np.pi * 0.4 * TIMES)
MIDDLE = slice(400, -400)
CARRIERS = {"theta": 6.0, "alpha": 10.0, "beta": 20.0, "gamma": 42.0, "high-gamma": 72.0}


@pytest.mark.parametrize("band", BANDS)
def test_envelope__of_a_modulated_carrier_is_its_modulation(band):
    signal = MODULATION * np.cos(2 * np.pi * CARRIERS[band] * TIMES + 0.7)
    found = envelope(signal, SFREQ, BANDS[band])
    np.testing.assert_allclose(found[MIDDLE], MODULATION[MIDDLE], atol=0.03)
    for other in set(BANDS) - {band}:
        assert envelope(signal, SFREQ, BANDS[other])[MIDDLE].max() < 0.03


def test_envelope__axis_and_precision_and_missing():
    signal = np.random.default_rng(0).normal(size=(3, 2000, 2)).astype(np.float32)
    signal[1, 40, 0] = np.nan
    found = envelope(signal, SFREQ, (8, 12), axis=1)
    assert found.dtype == np.float32
    assert np.isnan(found[1, :, 0]).all()
    assert np.isnan(found).sum() == 2000
    np.testing.assert_allclose(found[2, :, 1], envelope(signal[2, :, 1], SFREQ, (8, 12)), rtol=1e-4)


def test_envelope__refuses_magnitudes():
    signal = MODULATION * np.cos(2 * np.pi * 10 * TIMES)
    with pytest.raises(ValueError, match=r"no value is negative.*twice its frequency"):
        envelope(np.abs(signal), SFREQ, (8, 12))
    assert envelope(np.zeros(2000), SFREQ, (8, 12)).max() == 0


@pytest.mark.parametrize("band", [(12, 8), (0.5, 4), (60, 125), (8, 8)])
def test_envelope__refuses_bands_that_do_not_fit(band):
    with pytest.raises(ValueError, match="does not fit a signal of 250 Hz"):
        envelope(TIMES, SFREQ, band)


def sources(signals, **attrs):
    """A cube (2 stimuli, 3 labels, time, 2 repeats) whose first label carries `signals`."""
    values = np.random.default_rng(0).normal(0, 0.01, (2, 3, len(TIMES), 2))
    values[:, 0] += signals[None, :, None]
    return xr.DataArray(
        values.astype(np.float32),
        dims=CUBE,
        coords={
            "stimulus": ["a", "b"],
            "unit": ["V1-lh", "V1-rh", "FFA-rh"],
            "time": TIMES,
            "repeat": [0, 1],
            "region": ("unit", ["V1", "V1", "FFA"]),
            "trial_state": (("stimulus", "repeat"), [["kept"] * 2] * 2),
        },
        attrs={
            "modality": "meg_sources",
            "quantity": "signed source amplitude",
            "units": "A m",
            "dataset": "d",
            "subject": "s",
        }
        | attrs,
    )


def test_band_envelopes__labels_and_values(computing_forbidden):
    cube = sources(MODULATION * np.cos(2 * np.pi * 10 * TIMES))
    with computing_forbidden():
        lazy = band_envelopes(cube.chunk(stimulus=1, time=300, unit=2))
        assert plan(lazy).tasks > 5
    found = validate(lazy.compute(), SOURCES)
    assert found.sizes["unit"] == 15
    assert list(found.unit.values[:4]) == ["V1-lh@theta", "V1-rh@theta", "FFA-rh@theta", "V1-lh@alpha"]
    assert list(found.band.values[::3]) == list(BANDS)
    assert list(found.region.values[3:6]) == ["V1", "V1", "FFA"]
    assert found.dtype == np.float32
    alpha = found.sel(unit="V1-lh@alpha").isel(time=MIDDLE)
    np.testing.assert_allclose(alpha.mean(["stimulus", "repeat"]), MODULATION[MIDDLE], atol=0.05)
    assert found.sel(unit="V1-lh@beta").isel(time=MIDDLE).max() < 0.1
    np.testing.assert_array_equal(found.values, band_envelopes(cube).values)
    assert found.attrs["quantity"] == "envelope of the signed source amplitude"


def test_band_envelopes__refuses_what_is_not_signed():
    for quantity in ("source magnitude", "envelope of the potential"):
        with pytest.raises(VerbError, match=f"{quantity}.*not signed"):
            band_envelopes(sources(MODULATION, quantity=quantity))
    cube = np.abs(sources(MODULATION)).assign_attrs(sources(MODULATION).attrs)
    with pytest.raises(ValueError, match="no value is negative"):
        band_envelopes(cube).compute()


def test_band_envelopes__refuses_short_and_uneven_trials():
    cube = sources(MODULATION)
    short = cube.isel(time=slice(0, filter_samples(SFREQ)))
    with pytest.raises(VerbError, match=r"filter is 3.3 s long and trials are 3.3 s.*EpochSettings"):
        band_envelopes(short)
    assert band_envelopes(short, {"alpha": (8, 12)}, edges="distorted").compute().notnull().all()
    with pytest.raises(VerbError, match="unevenly"):
        band_envelopes(cube.isel(time=[0, 1, 3]))
    with pytest.raises(SchemaError, match="dims"):
        band_envelopes(cube.isel(repeat=0))
    with pytest.raises(ValueError, match="edges is 'all'"):
        band_envelopes(cube, edges="all")


def test_band_envelope__of_a_recording_then_epochs():
    raw = recordings.eeg(trials=9, noise=0.1)
    burst = np.zeros(raw.n_times)
    trials = find_trials(raw, Triggers(recordings.STIMULI))
    for sample in trials.samples:
        burst += 20e-6 * np.exp(-((raw.times - sample / SFREQ - 0.3) ** 2) / (2 * 0.15**2))
    raw._data[2] += burst * np.cos(2 * np.pi * 20 * raw.times)
    made = {
        band: epochs_cube(
            [cut_epochs(raw, trials, EpochSettings(tmin=-0.2, tmax=0.8, band=band, decim=2))],
            kind="eeg", subject="s", dataset="d",
        )
        for band in ("alpha", "beta")
    }  # fmt: skip
    beta = made["beta"].mean(["stimulus", "repeat"]).sel(unit="E02")
    assert abs(beta.time.values[beta.values.argmax()] - 0.3) < 0.02
    np.testing.assert_allclose(beta.max(), 20e-6, rtol=0.15)
    assert made["alpha"].mean(["stimulus", "repeat"]).sel(unit="E02").max() < 2e-6
    assert made["beta"].attrs["quantity"] == "envelope of the potential, beta 12-30 Hz"
    with pytest.raises(InputError, match="no band 'delta'"):
        band_envelope(raw, "delta")
