"""Cleaning: planted artefacts go, what the brain said stays, and the record says what was done."""

import json

import mne
import numpy as np
import pytest

from pipeline.preprocess import BadChannels, CleanSettings, Filter, Ica, Maxwell, clean, find_bads, fit_ica
from stores.errors import InputError
from tests import recordings

SOFT = Ica(n_components=7, ecg_threshold=0.5, eog_threshold=0.8)


@pytest.fixture(scope="module")
def dirty():
    return recordings.eeg(trials=24, heart=20.0, blinks=5.0)


@pytest.fixture(scope="module")
def tidy():
    """The same brain and the same noise without heart and blinks."""
    return recordings.eeg(trials=24)


@pytest.fixture(scope="module")
def cleaned(dirty):
    return clean(dirty, CleanSettings(ica=SOFT))


def rms(raw, other):
    return np.sqrt(np.square((raw.get_data("eeg") - other.get_data("eeg")) * 1e6).mean())


def test_clean__ica_takes_out_heart_and_blinks(dirty, tidy, cleaned):
    assert rms(dirty, tidy) > 5
    assert rms(cleaned.raw, tidy) < 0.12 * rms(dirty, tidy)
    for artefact in ("EOG", "ECG"):
        before, after = (
            abs(np.corrcoef(raw.get_data(["E00", artefact]))[0, 1]) for raw in (dirty, cleaned.raw)
        )
        assert before > 0.4
        assert after < 0.1
    assert cleaned.record["ica"]["components"] == 7
    assert cleaned.record["ica"]["converged"] is True
    assert len(cleaned.record["ica"]["ecg"]) == 1
    assert len(cleaned.record["ica"]["eog"]) == 1


def test_clean__ica_leaves_the_planted_response(tidy, cleaned):
    events = mne.find_events(tidy, shortest_event=1, verbose="error")
    means = [
        mne.Epochs(raw, events, {"face": 1}, -0.2, 0.5, verbose="error", preload=True).average().data * 1e6
        for raw in (cleaned.raw, tidy)
    ]
    assert np.ptp(means[1]) > 5
    assert np.corrcoef(means[0].ravel(), means[1].ravel())[0, 1] > 0.98
    np.testing.assert_allclose(np.ptp(means[0]), np.ptp(means[1]), rtol=0.1)


def test_clean__input_stays_as_it_was_and_the_record_is_plain(dirty, cleaned):
    again = recordings.eeg(trials=24, heart=20.0, blinks=5.0)
    np.testing.assert_array_equal(dirty.get_data(), again.get_data())
    assert dirty.info["bads"] == []
    assert json.loads(json.dumps(cleaned.record)) == cleaned.record


def test_clean__is_the_same_each_time(dirty, cleaned):
    np.testing.assert_array_equal(
        clean(dirty, CleanSettings(ica=SOFT)).raw.get_data(), cleaned.raw.get_data()
    )


def test_clean__without_settings_changes_nothing(dirty):
    np.testing.assert_array_equal(clean(dirty, CleanSettings()).raw.get_data(), dirty.get_data())


def test_fit_ica__of_two_runs_cleans_both(dirty, tidy):
    other = recordings.eeg(trials=16, heart=20.0, blinks=5.0, seed=1)
    ica = fit_ica([dirty, other], SOFT)
    for raw, goal in ((dirty, tidy), (other, recordings.eeg(trials=16, seed=1))):
        assert rms(clean(raw, CleanSettings(ica=SOFT), ica=ica).raw, goal) < 0.15 * rms(raw, goal)


def test_clean__a_channel_that_was_bad_in_another_run_is_interpolated(dirty):
    other = recordings.eeg(trials=16, heart=20.0, blinks=5.0, seed=1)
    other.info["bads"] = ["E05"]
    ica = fit_ica([dirty, other], SOFT)
    made = clean(dirty, CleanSettings(ica=SOFT), ica=ica)
    assert made.record["bads"]["not in the decomposition"] == ["E05"]
    assert made.record["interpolated"] == ["E05"]
    assert abs(np.corrcoef(made.raw.get_data(["E05", "EOG"]))[0, 1]) < 0.1


@pytest.mark.parametrize("most", [0, 2])
def test_clean__removes_at_most_so_many_components(dirty, most):
    eager = Ica(n_components=7, ecg_threshold=0.001, ecg_at_most=most, eog_threshold=0.001, eog_at_most=most)
    found = clean(dirty, CleanSettings(ica=eager)).record["ica"]
    assert (len(found["ecg"]), len(found["eog"])) == (most, most)


def test_find_bads__finds_the_flat_and_the_noisy(tidy):
    raw = tidy.copy()
    raw._data[3] = 0
    raw._data[7] += np.random.default_rng(0).normal(0, 40e-6, raw.n_times)
    assert find_bads(raw, BadChannels(find="deviation")) == ["E03", "E07"]
    assert find_bads(tidy, BadChannels(find="deviation")) == []


def test_clean__bad_channels_are_made_of_their_neighbours(tidy):
    raw = tidy.copy()
    raw._data[7] += np.random.default_rng(0).normal(0, 40e-6, raw.n_times)
    made = clean(raw, CleanSettings(bads=BadChannels(named=("E02",), find="deviation")))
    assert made.record["bads"] == {"named": ["E02"], "found": ["E07"]}
    assert made.record["interpolated"] == ["E02", "E07"]
    assert made.raw.info["bads"] == []
    assert made.raw.get_data(["E07"]).std() < 5e-6
    others = [one for one in tidy.ch_names if one not in ("E02", "E07")]
    np.testing.assert_array_equal(made.raw.get_data(others), raw.get_data(others))
    kept = clean(raw, CleanSettings(bads=BadChannels(named=("E02",), then="missing")))
    assert kept.raw.info["bads"] == ["E02"]


def test_clean__bads_without_positions_are_refused(tidy):
    raw = tidy.copy().set_montage(None)
    with pytest.raises(InputError, match=r'E02 cannot be interpolated.*then="missing"'):
        clean(raw, CleanSettings(), bads=["E02"])


def test_clean__notch_and_low_pass_take_out_line_noise(tidy):
    raw = tidy.copy()
    seconds = raw.times
    raw._data[:16] += 50e-6 * np.sin(2 * np.pi * 50 * seconds)

    def power(one, hz):
        middle = one.get_data(["E04"])[0, 1000:-1000]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
        return spectrum[np.abs(np.fft.rfftfreq(len(middle), 1 / 250) - hz) < 0.5].sum()

    notched = clean(raw, CleanSettings(filter=Filter(notch=(50.0,)))).raw
    assert power(notched, 50) < 1e-3 * power(raw, 50)
    np.testing.assert_allclose(power(notched, 30), power(tidy, 30), rtol=0.02)
    low = clean(raw, CleanSettings(filter=Filter(h_freq=40.0)))
    assert power(low.raw, 50) < 1e-4 * power(raw, 50)
    assert low.record["filter"] == {"l_freq": 0.0, "h_freq": 40.0}


def test_clean__average_reference(tidy):
    made = clean(tidy, CleanSettings(reference="average"))
    np.testing.assert_allclose(made.raw.get_data("eeg").mean(axis=0), 0, atol=1e-18)


def test_clean__channel_types_are_corrected(tidy):
    made = clean(tidy, CleanSettings(channel_types={"E00": "eog"}))
    assert made.raw.get_channel_types(["E00"]) == ["eog"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CleanSettings(bads=BadChannels(named=("E2",))), "no channel 'E2' among its 19; did you mean 'E"),
        (CleanSettings(channel_types={"VEOG": "eog"}), "channel_types: there is no channel 'VEOG'.*'EOG'"),
        (CleanSettings(filter=Filter(h_freq=125.0)), "125 Hz.*250 samples a second.*between 0 and 125"),
        (CleanSettings(filter=Filter(l_freq=-1.0)), "filter: -1 Hz"),
        (CleanSettings(filter=Filter(l_freq=0.05)), r"it is 66.0 s long and the recording 39.5 s.*method='iir'"),
        (CleanSettings(maxwell=Maxwell()), "Maxwell filter: "),
        (CleanSettings(channel_types={"ECG": "misc"}, ica=SOFT), "without an ECG channel .*ecg_at_most=0"),
        (CleanSettings(channel_types={"EOG": "misc"}, ica=SOFT), "no EOG channel.*eog_at_most=0"),
        (CleanSettings(ica=Ica(n_components=200)), "ICA: "),
        (CleanSettings(bads=BadChannels(find="maxwell")), "bad channels by Maxwell filter: "),
    ],
)  # fmt: skip
def test_clean__says_what_is_wrong(tidy, settings, message):
    with pytest.raises(InputError, match=message):
        clean(tidy, settings)


@pytest.fixture(scope="module")
def field():
    """Four seconds of a current dipole in a helmet, and of a source far outside it: (both, dipole alone)."""
    info = recordings.helmet()
    sphere = mne.make_sphere_model((0, 0, 0), None, verbose="error")
    dipole = mne.Dipole([0.0], [[0.0, 0.05, 0.04]], [1.0], [[1.0, 0.0, 0.0]], [1.0])
    forward, _ = mne.make_forward_dipole(dipole, sphere, info, verbose="error")
    leads = mne.convert_forward_solution(forward, force_fixed=True, verbose="error")["sol"]["data"][:, 0]
    rng = np.random.default_rng(0)
    seconds = np.arange(1000) / recordings.SFREQ
    brain = 30e-9 * leads[:, None] * np.sin(2 * np.pi * 7 * seconds)
    far = np.array([1.0 if kind == "mag" else 0.0 for kind in info.get_channel_types()])
    normal = np.array([one["loc"][9:12] @ [0.6, 0.0, 0.8] for one in info["chs"]])
    outside = 5e-12 * (far * normal)[:, None] * np.sin(2 * np.pi * 3 * seconds)
    white = rng.normal(size=brain.shape) * np.where(far[:, None] > 0, 5e-15, 2e-13)
    alone = mne.io.RawArray(brain + white, info, verbose="error")
    return mne.io.RawArray(brain + white + outside, info, verbose="error"), alone


def test_clean__maxwell_filter_keeps_the_head_and_takes_out_the_room(field):
    both, alone = field
    settings = CleanSettings(maxwell=Maxwell(st_duration=None, origin=(0.0, 0.0, 0.0)))
    made = clean(both, settings, bads=["MEG0101", "MEG0202"])
    inside = clean(alone, settings)
    before, after, truth = (raw.get_data("mag") for raw in (both, made.raw, alone))
    assert np.abs(before - truth).max() > 2e-12
    assert np.abs(after - inside.raw.get_data("mag")).max() < 1e-13
    assert np.corrcoef(after.ravel(), truth.ravel())[0, 1] > 0.95
    assert made.record["maxwell"]["reconstructed"] == ["MEG0101", "MEG0202"]
    assert made.record["maxwell"]["rank"] < 100
    assert made.raw.info["bads"] == []
    assert "interpolated" not in made.record


def test_find_bads__maxwell_finds_a_noisy_sensor(field):
    raw = mne.io.RawArray(np.tile(field[1].get_data(), 7), field[1].info, verbose="error")
    raw._data[30] += np.random.default_rng(1).normal(0, 2e-12, raw.n_times)
    assert find_bads(raw, BadChannels(find="maxwell"), Maxwell(origin=(0.0, 0.0, 0.0))) == [raw.ch_names[30]]
