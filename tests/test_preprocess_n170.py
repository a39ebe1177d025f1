"""Real EEG of faces and houses, six runs with a headband of four electrodes: faces evoke the larger N170."""

import dask
import mne
import numpy as np
import pandas as pd
import pytest

from pipeline.preprocess import (
    CleanSettings,
    EpochSettings,
    Filter,
    Run,
    Triggers,
    count_dropped,
    preprocess_runs,
    whiten,
    whitener,
)
from tests.shared import shared

ELECTRODES = ["TP9", "AF7", "AF8", "TP10"]
CLEAN = CleanSettings(filter=Filter(l_freq=1.0, h_freq=30.0, method="iir"))
CUT = EpochSettings(tmin=-0.1, tmax=0.8, baseline=None, reject={"eeg": 50e-6})


class Headband:
    """A CSV of the headband, as a recording: four electrodes in uV at 256 Hz, and markers."""

    def __init__(self, path):
        self.path = path

    def __call__(self):
        table = pd.read_csv(self.path)
        data = np.vstack([table[ELECTRODES].to_numpy().T * 1e-6, table["Marker0"].to_numpy()])
        info = mne.create_info([*ELECTRODES, "Marker0"], 256.0, ["eeg"] * 4 + ["stim"])
        return mne.io.RawArray(data, info, verbose="error")


@pytest.fixture(scope="module")
def cube():
    files = sorted(shared("data/eeg-n170-muse").glob("*.csv"))
    markers = Triggers({1: "house", 2: "face"})
    runs = [Run(Headband(one), markers, "subject1", str(n + 1)) for n, one in enumerate(files)]
    made = preprocess_runs(runs, CLEAN, CUT, kinds=["eeg"], dataset="muse-n170").cubes["subject1/eeg"]
    return count_dropped(made.compute(scheduler="synchronous"))


def test_n170__at_tp10_faces_are_more_negative_than_houses(cube):
    """-2.9 uV at 211 ms, in every set of five of the six runs."""
    runs = sorted(set(cube.run.values))
    assert len(runs) == 6
    peaks = {}
    for left_out in ["", *runs]:
        means = cube.sel(unit="TP10").isel(repeat=cube.run.values != left_out).mean("repeat") * 1e6
        difference = (means.sel(stimulus="face") - means.sel(stimulus="house")).sel(time=slice(0.1, 0.3))
        at = int(difference.values.argmin())
        peaks[left_out or "none"] = (float(difference[at]), float(difference.time[at]))
    for left_out, (size, time) in peaks.items():
        print(f"without run {left_out}: face - house at TP10 {size:.2f} uV at {1000 * time:.0f} ms")
    np.testing.assert_allclose(peaks["none"], (-2.95, 0.211), atol=(0.05))
    for size, time in peaks.values():
        assert -3.6 < size < -2.4
        assert 0.2 < time < 0.22
    mean = np.mean([size for name, (size, _) in peaks.items() if name != "none"])
    assert abs(mean + 2.95) < 0.1


def test_n170__trials_are_all_accounted_for(cube):
    assert dict(cube.sizes) == {"stimulus": 2, "unit": 4, "time": 232, "repeat": 615}
    kept = int((cube.trial_state == "kept").sum())
    dropped = cube.attrs["dropped"]
    print(f"{kept} trials kept, {dropped}")
    assert kept == 1044
    assert kept + sum(dropped.values()) == 1174
    assert set(dropped) == {"peak-to-peak"}


def test_n170__equals_mne_alone(cube):
    recording = Headband(sorted(shared("data/eeg-n170-muse").glob("*.csv"))[2])()
    recording.filter(1, 30, picks="eeg", method="iir", verbose="error")
    events = mne.find_events(recording, shortest_event=1, verbose="error")
    made = mne.Epochs(
        recording, events, {"house": 1, "face": 2}, -0.1, 0.8, baseline=None, reject={"eeg": 50e-6},
        preload=True, verbose="error",
    )  # fmt: skip
    run = cube.isel(repeat=cube.run.values == "3")
    for stimulus in ("house", "face"):
        wanted = made[stimulus].average().data
        np.testing.assert_allclose(run.sel(stimulus=stimulus).mean("repeat"), wanted, atol=1e-10)


def test_n170__whitened_by_the_other_runs_is_nearly_white(cube):
    here = cube.run.values == "1"
    by = whitener(cube.isel(repeat=~here), train="all", noise="trials")
    (left,) = dask.compute(whiten(cube.isel(repeat=here), by))
    rest = (left - left.mean("repeat")).transpose("unit", ...).values.reshape(4, -1)
    found = np.cov(rest[:, np.isfinite(rest).all(axis=0)])
    np.testing.assert_allclose(np.diag(found), 1, atol=0.5)
    assert np.abs(np.corrcoef(rest[:, np.isfinite(rest).all(axis=0)]) - np.eye(4)).max() < 0.25
