"""The preset of the face recognition data: plain data, and a chain that runs on a helmet of that kind."""

import json
from dataclasses import replace
from functools import partial

import dask
import mne
import numpy as np
import pytest

from pipeline.preprocess import BANDS, FACES_MEG, Run, Triggers, preprocess_runs
from pipeline.preprocess.cubes import settings_of
from stores.provenance import content_key
from tests import recordings

EXTRA = {"EEG061": "eog", "EEG062": "eog", "EEG063": "ecg", "EEG064": "misc"}


def test_preset__is_plain_data_that_a_content_key_can_hash():
    made = settings_of(FACES_MEG.clean, FACES_MEG.epoch)
    assert json.loads(json.dumps(made))["clean"]["maxwell"]["st_duration"] == 10.0
    other = settings_of(FACES_MEG.clean, replace(FACES_MEG.epoch, delay=0.034))
    assert content_key(made) != content_key(other)
    assert content_key(made) == content_key(settings_of(FACES_MEG.clean, FACES_MEG.epoch))


def test_preset__has_the_published_parameters():
    clean, epoch = FACES_MEG.clean, FACES_MEG.epoch
    assert (clean.filter.l_freq, clean.filter.h_freq, clean.filter.eog_l_freq) == (None, 90.0, 1.0)
    assert (clean.ica.n_components, clean.ica.decim, clean.ica.ecg_at_most, clean.ica.eog_at_most) == (
        0.999,
        11,
        3,
        3,
    )
    assert clean.ica.reject == {"grad": 4000e-13, "mag": 4e-12}
    assert clean.channel_types == EXTRA
    assert (epoch.tmin, epoch.tmax, epoch.baseline, epoch.delay) == (-0.2, 0.8, (-0.2, 0.0), 0.0345)
    assert dict(BANDS) == {
        "theta": (4, 8), "alpha": (8, 12), "beta": (12, 30), "gamma": (30, 55), "high-gamma": (55, 90),
    }  # fmt: skip


@mne.utils.verbose
def faces(seed, sfreq=1100.0, seconds=24, verbose="error"):
    """A helmet and six electrodes at 1100 Hz: dipoles of faces, heart and blinks, and noise inside the head."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * sfreq)) / sfreq
    info = recordings.helmet()
    stim, brain = np.zeros((2, len(times)))
    for n, onset in enumerate(np.arange(1, seconds - 1.5, 1.1)):
        stim[int(onset * sfreq) : int(onset * sfreq) + 20] = (5, 13, 17)[n % 3]
        brain += (3, 2, 1)[n % 3] * np.exp(-((times - onset - 0.0345 - 0.17) ** 2) / (2 * 0.02**2))
    beats, lids = recordings.heartbeats(times, rng), recordings.eyelids(times, rng)
    others = rng.laplace(0, 1, (25, len(times)))
    places = np.array(
        [[0.02, -0.03, 0.03], [0, 0.0, -0.06], [0.02, 0.045, 0.02], *rng.uniform(-0.05, 0.05, (25, 3))]
    )
    turned = np.cross(places, rng.normal(size=places.shape))
    size = np.linalg.norm(turned, axis=1)
    dipoles = mne.Dipole(np.zeros(28), places, np.ones(28), turned / size[:, None], np.ones(28))
    sphere = mne.make_sphere_model((0, 0, 0), None)
    forward, _ = mne.make_forward_dipole(dipoles, sphere, info)
    leads = mne.convert_forward_solution(forward, force_fixed=True)["sol"]["data"]
    sources = np.vstack([brain * 40e-9, beats * 300e-9, lids * 80e-9, others * 5e-9])
    white = rng.normal(size=(306, len(times))) * np.where(np.arange(306) % 3 == 0, 1e-15, 3e-14)[:, None]
    eeg = np.linspace(-1, 1, 6)[:, None] * brain * 1e-6 + rng.normal(0, 1e-6, (6, len(times)))
    extra = np.vstack([lids, lids / 2, beats, 0 * lids]) * 1e-4 + rng.normal(0, 1e-6, (4, len(times)))
    names = [f"EEG{n:03d}" for n in (*range(1, 7), 61, 62, 63, 64)]
    more = mne.create_info([*names, "STI101"], sfreq, ["eeg"] * 10 + ["stim"])
    with info._unlock():
        info["sfreq"] = sfreq
        info["lowpass"] = sfreq / 2
    raw = mne.io.RawArray(leads @ sources + white, info)
    return raw.add_channels([mne.io.RawArray(np.vstack([eeg, extra, stim]), more)], force_update_info=True)


@pytest.mark.slow
def test_preset__runs_on_a_helmet_and_finds_the_planted_response():
    events = Triggers({5: "f001", 13: "u001", 17: "s001"})
    runs = [Run(partial(faces, n), events, "sub-01", str(n)) for n in (1, 2)]
    clean = replace(FACES_MEG.clean, maxwell=replace(FACES_MEG.clean.maxwell, origin=(0.0, 0.0, 0.0)))
    made = preprocess_runs(runs, clean, FACES_MEG.epoch, kinds=FACES_MEG.kinds, dataset="simulated")
    cubes, records = dask.compute(made.cubes, made.records, scheduler="synchronous")
    mag = cubes["sub-01/mag"]
    assert dict(mag.sizes) == {"stimulus": 3, "unit": 102, "time": 1101, "repeat": 14}
    assert mag.time.values[220] == 0
    strength = mag.mean("repeat").std("unit").sel(stimulus="f001")
    assert abs(float(strength.time[int(strength.values.argmax())]) - 0.17) < 0.01
    assert cubes["sub-01/eeg"].sizes["unit"] == 6
    assert records["sub-01/run-1"]["ica"]["eog"]
