"""Events to trials to a cube: delay, rejection with its reasons, repeats and labels."""

import mne
import numpy as np
import pandas as pd
import pytest

import stores
from pipeline.kernels.rejection import threshold
from pipeline.preprocess import (
    CleanSettings,
    EpochSettings,
    Filter,
    Onsets,
    Triggers,
    clean,
    count_dropped,
    cut_epochs,
    epochs_cube,
    find_trials,
    onsets,
)
from stores.errors import InputError, SchemaError
from tests import recordings

CODES = Triggers(recordings.STIMULI)
SETTINGS = EpochSettings(tmin=-0.2, tmax=0.5, baseline=(-0.2, 0.0))
PLACE = {"subject": "sub-01", "dataset": "simulated"}


def cube_of(raw, settings=SETTINGS, events=CODES, **more):
    return epochs_cube([cut_epochs(raw, find_trials(raw, events), settings)], kind="eeg", **PLACE, **more)


@pytest.fixture(scope="module")
def raw():
    return recordings.eeg(trials=24)


@pytest.fixture(scope="module")
def cube(raw):
    return cube_of(raw)


def test_epochs_cube__is_a_valid_cube_with_labels(raw, cube):
    stores.validate(cube)
    assert dict(cube.sizes) == {"stimulus": 3, "unit": 16, "time": 176, "repeat": 8}
    assert list(cube.stimulus.values) == ["face", "house", "tool"]
    assert list(cube.channel.values) == raw.ch_names[:16]
    np.testing.assert_allclose(cube.time.values, np.arange(-50, 126) / 250, atol=1e-9)
    for n, axis in enumerate("xyz"):
        np.testing.assert_allclose(cube[axis].values, recordings.electrodes(16)[:, n], atol=1e-9)
    assert (cube.trial_state == "kept").all()
    assert cube.attrs["units"] == "V"
    assert cube.attrs["dropped"] == {}
    assert set(cube.run.values) == {"1"}


def test_epochs_cube__holds_the_planted_responses(cube):
    means = cube.mean("repeat") * 1e6
    for stimulus, gain in recordings.GAIN.items():
        wanted = recordings.topography()[:, None] * recordings.response(cube.time.values, stimulus)
        weight = (means.sel(stimulus=stimulus).values * wanted).sum() / np.square(wanted).sum()
        np.testing.assert_allclose(weight, 1, atol=0.25 / abs(gain))


def test_epochs_cube__values_are_those_of_the_recording(raw, cube):
    first = mne.find_events(raw, shortest_event=1, verbose="error")[0, 0]
    trial = raw.get_data("eeg")[:, first - 50 : first + 126]
    trial = trial - trial[:, :51].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(cube.sel(stimulus="face", repeat=0).values, trial, rtol=1e-6, atol=1e-12)


def test_epochs_cube__order_of_trials_does_not_matter(raw):
    trials = find_trials(raw, CODES)
    turned = recordings.eeg(order=[2, 2, 3, 1, 3, 1], noise=0)
    straight = recordings.eeg(order=[1, 2, 3, 1, 2, 3], noise=0)
    np.testing.assert_allclose(cube_of(turned).values, cube_of(straight).values, atol=1e-12)
    assert trials.stimuli[:4] == ("face", "house", "tool", "face")


@pytest.mark.parametrize("delay", [0.0, 0.0345, 0.1])
def test_cut_epochs__delay_moves_the_peak_to_its_time(delay):
    raw = recordings.eeg(trials=6, delay=delay, noise=0)
    for corrected in (0.0, delay):
        made = cube_of(raw, EpochSettings(tmin=-0.2, tmax=0.5, delay=corrected))
        peak = made.time.values[np.abs(made.sel(stimulus="face").values[0, :, 0]).argmax()]
        np.testing.assert_allclose(peak, recordings.PEAK + delay - corrected, atol=0.0041)


def planted():
    """A recording with known bad trials: 2 and 7 are large, 5 is flat, 9 is annotated, 23 is cut off."""
    raw = recordings.eeg(trials=24)
    events = mne.find_events(raw, shortest_event=1, verbose="error")[:, 0]
    for trial in (2, 7):
        raw._data[4, events[trial] + 20] += 300e-6
    raw._data[6, events[5] - 60 : events[5] + 140] = 0
    raw._data[15, events[9] + 20] += 300e-6  # falls to its annotation first
    raw.set_annotations(mne.Annotations((events[9] + 10) / 250, 0.1, "BAD_movement"))
    return raw.crop(0, (events[23] + 100) / 250)


LIMITS = {"reject": {"eeg": 100e-6}, "flat": {"eeg": 1e-9}}


def test_cut_epochs__drops_exactly_the_planted_trials():
    raw = planted()
    made = cut_epochs(raw, find_trials(raw, CODES), EpochSettings(tmin=-0.2, tmax=0.5, **LIMITS))
    dropped = {n: state for n, state in enumerate(made.states) if state != "kept"}
    assert dropped == {
        2: "peak-to-peak",
        5: "flat",
        7: "peak-to-peak",
        9: "annotated BAD_movement",
        23: "outside the recording",
    }
    cube = epochs_cube([made], kind="eeg", **PLACE)
    assert cube.attrs["dropped"] == {
        "annotated BAD_movement": 1, "flat": 1, "outside the recording": 1, "peak-to-peak": 2,
    }  # fmt: skip
    gone = cube.isnull().all(["unit", "time"])
    assert int(gone.sum()) == int(cube.isnull().any(["unit", "time"]).sum()) == 5
    np.testing.assert_array_equal(gone, cube.trial_state != "kept")
    assert cube.trial_state.sel(stimulus="tool", repeat=0) == "peak-to-peak"  # trial 2


def test_cut_epochs__a_bad_channel_is_missing_and_drops_no_trial():
    raw = planted()
    raw.info["bads"] = ["E04", "E06"]
    cube = cube_of(raw, EpochSettings(tmin=-0.2, tmax=0.5, **LIMITS))
    assert set(cube.attrs["dropped"]) == {"annotated BAD_movement", "outside the recording"}
    assert cube.sel(unit=["E04", "E06"]).isnull().all()
    assert list(cube.unit.values) == [f"E{n:02d}" for n in range(16)]


def test_cut_epochs__learns_the_limit_from_the_trials():
    raw = planted()
    made = cut_epochs(
        raw, find_trials(raw, CODES), EpochSettings(tmin=-0.2, tmax=0.5, reject={"eeg": "auto"})
    )
    assert [n for n, state in enumerate(made.states) if state == "peak-to-peak"] == [2, 7]
    assert 5e-6 < made.limits["eeg"] < 250e-6


def test_threshold__keeps_clean_trials_and_leaves_out_artefacts():
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(60, 5, 40)) + np.sin(np.arange(40) / 6)
    clean_limit = threshold(trials)
    largest = np.ptp(trials, axis=2).max(axis=1)
    assert (largest <= clean_limit).mean() > 0.8
    trials[:9, 2] += 30 * rng.normal(size=(9, 40))
    limit = threshold(trials)
    assert (np.ptp(trials[:9], axis=2).max(axis=1) > limit).all()
    assert (largest[9:] <= limit).mean() > 0.8
    with pytest.raises(ValueError, match="from 9 trials"):
        threshold(trials[:9])


def test_threshold__is_the_limit_whose_mean_predicts_left_out_medians_best():
    rng = np.random.default_rng(3)
    trials = rng.standard_t(1.5, size=(40, 3, 15))
    largest = np.ptp(trials, axis=2).max(axis=1)
    limits = np.unique(np.quantile(largest, np.linspace(0.25, 1.0, 40)))
    folds = np.array_split(np.random.default_rng(7).permutation(40), 10)
    errors = []
    for limit in limits:
        error = 0.0
        for fold in folds:
            kept = [n for n in range(40) if n not in fold and largest[n] <= limit]
            error += np.linalg.norm(trials[kept].mean(axis=0) - np.median(trials[fold], axis=0))
        errors.append(error)
    assert threshold(trials, seed=7) == limits[int(np.argmin(errors))]


def test_cut_epochs__baseline_is_zero_on_average(raw, cube):
    np.testing.assert_allclose(cube.sel(time=slice(-0.2, 0)).mean("time"), 0, atol=1e-12)
    without = cube_of(raw, EpochSettings(tmin=-0.2, tmax=0.5, baseline=None))
    assert np.abs(without.sel(time=slice(-0.2, 0)).mean("time")).max() > 1e-7


def test_cut_epochs__decimation_keeps_every_nth_sample():
    made = clean(recordings.eeg(trials=6), CleanSettings(filter=Filter(h_freq=20.0))).raw
    whole, thin = (cube_of(made, EpochSettings(tmin=-0.2, tmax=0.5, decim=n)) for n in (1, 4))
    assert 0.0 in thin.time.values
    np.testing.assert_array_equal(thin.values, whole.sel(time=thin.time).values)
    np.testing.assert_allclose(np.diff(thin.time), 0.016)


def test_cut_epochs__decimation_wants_a_low_pass_at_a_third_of_the_rate():
    raw = recordings.eeg(trials=6)
    low, high = (clean(raw, CleanSettings(filter=Filter(h_freq=edge))).raw for edge in (27.0, 29.0))
    thin = EpochSettings(tmin=-0.2, tmax=0.5, decim=3)
    assert cube_of(low, thin).sizes["time"] == 58
    with pytest.raises(InputError, match="27 Hz or below"):
        cube_of(high, thin)


def test_cut_epochs__resampling_keeps_the_peak():
    raw = recordings.eeg(trials=6, noise=0)
    made = cube_of(raw, EpochSettings(tmin=-0.2, tmax=0.5, resample=100.0))
    np.testing.assert_allclose(np.diff(made.time), 0.01, atol=1e-9)
    peak = made.time.values[np.abs(made.sel(stimulus="face").values[0, :, 0]).argmax()]
    np.testing.assert_allclose(peak, recordings.PEAK, atol=0.011)


def test_epochs_cube__all_trials_dropped_is_all_missing(raw):
    for more in ({}, {"resample": 100.0}):
        settings = EpochSettings(tmin=-0.2, tmax=0.5, reject={"eeg": 1e-9}, **more)
        made = cube_of(raw, settings)
        assert made.isnull().all()
        assert made.attrs["dropped"] == {"peak-to-peak": 24}


def runs_of(*orders):
    made = []
    for n, order in enumerate(orders):
        raw = recordings.eeg(order=order, seed=n)
        made.append(cut_epochs(raw, find_trials(raw, CODES), SETTINGS, run=str(n + 1), session="A"))
    return made


ORDERS = [1, 2, 1], [3, 1], [2, 2, 2]


def test_epochs_cube__repeats_by_run():
    made = runs_of(*ORDERS)
    cube = epochs_cube(made, kind="eeg", **PLACE)
    assert list(cube.run.values) == ["1", "1", "2", "3", "3", "3"]
    assert set(cube.session.values) == {"A"}
    states = {one: list(cube.trial_state.sel(stimulus=one).values == "kept") for one in cube.stimulus.values}
    assert states == {
        "face": [True, True, True, False, False, False],
        "house": [True, False, False, True, True, True],
        "tool": [False, False, True, False, False, False],
    }
    np.testing.assert_array_equal(cube.notnull().all(["unit", "time"]), cube.trial_state == "kept")
    np.testing.assert_array_equal(cube.sel(stimulus="face", repeat=1), made[0].values("eeg")[2])


def test_epochs_cube__repeats_pooled_over_runs():
    made = runs_of(*ORDERS)
    cube = epochs_cube(made, kind="eeg", repeats="pooled", **PLACE)
    assert list(cube.trial_run.sel(stimulus="house").values) == ["1", "3", "3", "3"]
    assert list(cube.trial_run.sel(stimulus="face").values) == ["1", "1", "2", ""]
    assert list(cube.trial_state.sel(stimulus="tool").values) == ["kept", *["absent"] * 3]
    np.testing.assert_array_equal(cube.sel(stimulus="house", repeat=2), made[2].values("eeg")[1])


def test_epochs_cube__mags_and_grads_go_apart():
    info = recordings.helmet(20)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(60, 2000)) * np.where(np.arange(60) % 3 == 0, 1e-13, 1e-12)[:, None]
    raw = mne.io.RawArray(data, info, verbose="error")
    trials = find_trials(raw, Onsets((2.0, 5.0), ("a", "b")))
    made = cut_epochs(raw, trials, SETTINGS)
    cubes = {kind: epochs_cube([made], kind=kind, **PLACE) for kind in ("mag", "grad")}
    assert (cubes["mag"].sizes["unit"], cubes["mag"].attrs["units"]) == (20, "T")
    assert (cubes["grad"].sizes["unit"], cubes["grad"].attrs["units"]) == (40, "T/m")
    with pytest.raises(InputError, match="run 1 has no channels of the kind 'eeg'"):
        epochs_cube([made], kind="eeg", **PLACE)


def test_find_trials__counts_other_triggers(raw):
    found = find_trials(raw, Triggers({1: "face"}))
    assert len(found) == 8
    assert found.left_out == {"trigger 2": 8, "trigger 3": 8}
    assert cube_of(raw, events=Triggers({1: "face"})).attrs["dropped"] == {"trigger 2": 8, "trigger 3": 8}


def test_find_trials__onsets_count_from_the_start_of_the_file(raw, cube):
    events = mne.find_events(raw, shortest_event=1, verbose="error")
    table = pd.DataFrame(
        {"onset": events[:, 0] / 250, "stim_file": [recordings.STIMULI[n] for n in events[:, 2]]}
    )
    later = mne.io.RawArray(raw.get_data(), raw.info, first_samp=5000, verbose="error")
    made = cube_of(later, events=onsets(table.iloc[::-1]))
    np.testing.assert_array_equal(made.values, cube.values)


def test_count_dropped__wants_computed_states(cube):
    with pytest.raises(SchemaError, match="trial_state"):
        count_dropped(cube.drop_vars("trial_state"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            EpochSettings(tmax=0.5, reject={"mag": 1e-12}),
            "reject: .*no good channels of the kind 'mag'; it has eeg",
        ),
        (EpochSettings(tmax=0.5, flat={"gard": 1e-12}), "flat: .*'gard'"),
        (EpochSettings(tmax=0.5, decim=5), r"decim=5 leaves 50 samples.*up to 125 Hz.*16 Hz or below"),
        (EpochSettings(tmax=0.5, decim=2, resample=100.0), "choose one"),
        (EpochSettings(tmax=0.5, band="thta"), "no band 'thta'; choose one of theta, alpha"),
        (EpochSettings(tmax=0.5, baseline=(-3.0, 0.0)), "epochs: .*[Bb]aseline"),
        (EpochSettings(tmin=0.5, tmax=0.2, baseline=None), "epochs: "),
    ],
)
def test_cut_epochs__says_what_is_wrong(raw, settings, message):
    with pytest.raises(InputError, match=message):
        cut_epochs(raw, find_trials(raw, CODES), settings)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (Triggers({7: "x"}), "no trials; it has events: 8 with trigger 1"),
        (Triggers({1: "face"}, channel="STI101"), "triggers: "),
        (Onsets((1.0,), ("a", "b")), "1 onsets are listed for 2 stimuli"),
        (Onsets((1.0, 1.0), ("a", "b")), "two trials start at sample 250"),
        (Onsets((), ()), "no trials; no events at all"),
    ],
)
def test_find_trials__says_what_is_wrong(raw, events, message):
    with pytest.raises(InputError, match=message):
        find_trials(raw, events)


def test_onsets__says_what_is_wrong():
    with pytest.raises(InputError, match="no column 'stim_file'; it has onset"):
        onsets(pd.DataFrame({"onset": [1.0]}))
    with pytest.raises(InputError, match="1 values of 'onset' are missing"):
        onsets(pd.DataFrame({"onset": [np.nan], "stim_file": ["a"]}))


def test_epochs_cube__runs_must_agree(raw):
    first = cut_epochs(raw, find_trials(raw, CODES), SETTINGS)
    with pytest.raises(InputError, match="two recordings are called run '1'"):
        epochs_cube([first, first], kind="eeg", **PLACE)
    fewer = raw.copy().drop_channels(["E03"])
    other = cut_epochs(fewer, find_trials(fewer, CODES), SETTINGS, run="2")
    with pytest.raises(InputError, match="run 1 has 16 eeg channels and run 2 15, such as 'E03'"):
        epochs_cube([first, other], kind="eeg", **PLACE)
    slow = recordings.eeg(trials=6, sfreq=200.0)
    other = cut_epochs(slow, find_trials(slow, CODES), SETTINGS, run="2")
    with pytest.raises(InputError, match="176 times and run 2 141"):
        epochs_cube([first, other], kind="eeg", **PLACE)
    with pytest.raises(InputError, match="no runs"):
        epochs_cube([], kind="eeg", **PLACE)
