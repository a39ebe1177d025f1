"""Recordings straight into a store: the values of the lazy cubes, run by run, resumed, never mixed up."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from distributed import Client, get_task_stream

import stores
from pipeline.preprocess import (
    CleanSettings,
    EpochSettings,
    Filter,
    Ica,
    Maxwell,
    Run,
    Triggers,
    count_dropped,
    preprocess_runs,
    store_runs,
    storing,
)
from tests import recordings
from tests.workers import workers

CODES = Triggers(recordings.STIMULI)
CLEAN = CleanSettings(filter=Filter(l_freq=0.5, h_freq=30.0))
POOLED = replace(CLEAN, ica=Ica(n_components=7, ecg_threshold=0.5, pooled=True))
CUT = EpochSettings(tmin=-0.2, tmax=0.5, reject={"eeg": 25e-6}, decim=2)
ORDERS = {"1": [1, 2, 3, 1, 2, 3, 1, 2], "2": [3, 2, 1, 1, 9, 2], "3": [2, 2, 1]}


def recorded(run):
    return recordings.eeg(order=ORDERS[run], seed=int(run), heart=20.0, blinks=5.0)


def runs(subject="sub-01"):
    return [Run(partial(recorded, one), CODES, subject, one, session="A") for one in ORDERS]


def kept(root, made=None, clean=CLEAN, epoch=CUT, **options):
    return store_runs(
        root, "eeg", made or runs(), clean, epoch, kinds=["eeg"], dataset="simulated", **options
    )


@pytest.fixture
def one_shard_per_repeat(monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 20_000)


@pytest.mark.parametrize("clean", [CLEAN, POOLED])
def test_store_runs__holds_what_the_lazy_cubes_hold(tmp_path, one_shard_per_repeat, clean):
    made = preprocess_runs(runs(), clean, CUT, kinds=["eeg"], dataset="simulated").cubes["sub-01/eeg"]
    wanted = count_dropped(made.compute(scheduler="synchronous"))
    assert kept(tmp_path, clean=clean) == {"eeg/sub-01/eeg": False}
    found = stores.open_cube(tmp_path, "eeg/sub-01/eeg")
    assert found.data.numblocks[3] == found.sizes["repeat"]
    np.testing.assert_array_equal(found.values, wanted.values)
    for name in found.coords:
        np.testing.assert_array_equal(found[name], wanted[name])
    assert stores.verify(tmp_path) == []

    notes = stores.notes(tmp_path, "eeg/sub-01/eeg")
    assert list(notes) == ["ses-A_run-1", "ses-A_run-2", "ses-A_run-3"]
    dropped = 0
    for note in notes.values():
        for stimulus, repeat, state in zip(
            *(note["trials"][key] for key in ("stimulus", "repeat", "state")), strict=True
        ):
            assert wanted.trial_state.sel(stimulus=stimulus, repeat=repeat) == state
            dropped += state == "peak-to-peak"
    assert dropped == wanted.attrs["dropped"]["peak-to-peak"] > 0
    assert notes["ses-A_run-1"]["limits"] == {"eeg": 25e-6}


def test_store_runs__small_cubes_are_one_shard_and_one_task(tmp_path):
    seen = []
    kept(tmp_path, progress=lambda *said: seen.append(said[:3]))
    assert seen == [("preprocess-sub-01", 0, 1), ("preprocess-sub-01", 1, 1)]
    assert len(stores.notes(tmp_path, "eeg/sub-01/eeg")) == 3


def test_store_runs__goes_on_after_a_kill(tmp_path, one_shard_per_repeat, monkeypatch):
    kept(tmp_path / "whole")
    worked = []

    def dying(ica=None, *, run, **how):
        worked.append(run.run)
        if run.run == "3" and worked.count("3") == 1:
            raise KeyboardInterrupt
        return real(run=run, **how)

    real = storing.cleaned_and_cut
    monkeypatch.setattr(storing, "cleaned_and_cut", dying)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "killed")
    with pytest.raises(stores.IncompleteError):
        stores.open_cube(tmp_path / "killed", "eeg/sub-01/eeg")
    kept(tmp_path / "killed")
    assert worked == ["1", "2", "3", "3"]
    assert kept(tmp_path / "killed") == {"eeg/sub-01/eeg": True}
    assert worked == ["1", "2", "3", "3"]
    for name in ("values/c", "notes"):
        files = sorted(
            one.relative_to(tmp_path / "whole")
            for one in (tmp_path / "whole/eeg/sub-01/eeg" / name).rglob("*")
            if one.is_file()
        )
        assert files
        for one in files:
            assert (tmp_path / "whole" / one).read_bytes() == (tmp_path / "killed" / one).read_bytes()


def test_store_runs__the_same_bits_on_workers(tmp_path, one_shard_per_repeat):
    kept(tmp_path / "here")
    with Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as client:
        kept(tmp_path / "there", client=client)
    here, there = (stores.open_cube(tmp_path / one, "eeg/sub-01/eeg").values for one in ("here", "there"))
    np.testing.assert_array_equal(here, there)


def test_store_runs__pooled_ica_has_the_same_bits_on_workers(tmp_path, one_shard_per_repeat):
    kept(tmp_path / "here", clean=POOLED)
    with workers(1) as client, get_task_stream(client=client) as stream:
        kept(tmp_path / "there", clean=POOLED, client=client)
    assert sum("preprocess-ica" in str(task["key"]) for task in stream.data) == 1
    here, there = (stores.open_cube(tmp_path / one, "eeg/sub-01/eeg") for one in ("here", "there"))
    assert here.values.tobytes() == there.values.tobytes()
    for name in here.coords:
        np.testing.assert_array_equal(here[name], there[name])
    assert stores.notes(tmp_path / "here", here.name) == stores.notes(tmp_path / "there", here.name)


def test_store_runs__other_settings_events_or_data_are_refused(tmp_path):
    kept(tmp_path)
    with pytest.raises(stores.KeyMismatchError, match=r"settings\.epoch\.tmax: 0\.5 -> 0\.4"):
        kept(tmp_path, epoch=replace(CUT, tmax=0.4))
    with pytest.raises(stores.KeyMismatchError, match=r"runs\.sub-01/ses-A/run-2\.bads"):
        kept(tmp_path, [replace(one, bads=("EEG003",)) if one.run == "2" else one for one in runs()])
    with pytest.raises(stores.KeyMismatchError, match=r"runs\.sub-01/ses-A/run-1\.events"):
        kept(tmp_path, [replace(runs()[0], events=Triggers({1: "face", 2: "house", 3: "toll"})), *runs()[1:]])
    swapped = [replace(runs()[0], recording=partial(recorded, "2")), *runs()[1:]]
    with pytest.raises(stores.KeyMismatchError, match=r"runs\.sub-01/ses-A/run-1\.recording"):
        kept(tmp_path, swapped)


def test_made_from__hashes_files_wherever_they_lie(tmp_path):
    keys = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "run-1_raw.fif"
        recorded("1").save(file, verbose="error")
        (tmp_path / folder / "sss_cal.dat").write_text("calibration")
        clean = replace(CLEAN, maxwell=Maxwell(calibration=str(tmp_path / folder / "sss_cal.dat")))
        (laid,) = storing.laid_out(
            [Run(file, CODES, "sub-01", "1")], CLEAN, CUT, kinds=["eeg"], dataset="d", repeats="by run"
        )
        keys.append(storing.made_from(laid, clean, CUT, "d"))
    for key in keys:  # FIF files carry the moment at which they were written
        (one,) = key["runs"]["sub-01/run-1"].pop("recording")
        assert one["file"] == "run-1_raw.fif"
        assert len(one["sha256"]) == 64
    assert keys[0] == keys[1]
    assert keys[0]["settings"]["clean"]["maxwell"]["calibration"]["file"] == "sss_cal.dat"
