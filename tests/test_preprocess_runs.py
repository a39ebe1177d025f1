"""Several recordings: one task for each, the same bits everywhere, nothing computed before it is asked for."""

import json
import logging
import warnings
from functools import partial
from pathlib import Path

import dask
import mne
import numpy as np
import pytest
from dask.utils import key_split

import stores
from pipeline.plan import plan
from pipeline.preprocess import (
    CleanSettings,
    EpochSettings,
    Filter,
    Ica,
    Onsets,
    Run,
    Triggers,
    clean,
    count_dropped,
    cut_epochs,
    epochs_cube,
    find_trials,
    fit_ica,
    preprocess_runs,
)
from stores.errors import InputError
from tests import recordings
from tests.workers import workers

CODES = Triggers(recordings.STIMULI)
ICA = Ica(n_components=7, ecg_threshold=0.5, eog_threshold=0.8)
CLEAN = CleanSettings(filter=Filter(l_freq=0.5, h_freq=30.0), ica=ICA)
CUT = EpochSettings(tmin=-0.2, tmax=0.5, reject={"eeg": 7e-6}, decim=2)
ORDERS = {"1": [1, 2, 3, 1, 2, 3, 1, 2], "2": [3, 2, 1, 1, 9, 2]}


def recorded(run):
    return recordings.eeg(order=ORDERS[run], seed=int(run), heart=20.0, blinks=5.0)


RUNS = [Run(partial(recorded, one), CODES, "sub-01", one, session="A") for one in ORDERS]


def lazily(runs=RUNS, clean=CLEAN, **options):
    return preprocess_runs(runs, clean, CUT, **{"kinds": ["eeg"], "dataset": "simulated"} | options)


def at_once(clean_settings=CLEAN, ica=None, **options):
    made = []
    for one in RUNS:
        raw = one.open()
        cleaned = clean(raw, clean_settings, ica=ica).raw
        made.append(cut_epochs(cleaned, find_trials(raw, CODES), CUT, run=one.run, session="A"))
    return epochs_cube(made, kind="eeg", subject="sub-01", dataset="simulated", **options)


@pytest.mark.parametrize("repeats", ["by run", "pooled"])
def test_preprocess_runs__gives_what_a_notebook_gives(repeats, computing_forbidden):
    with computing_forbidden():
        lazy = lazily(repeats=repeats).cubes["sub-01/eeg"]
    stores.validate(lazy)
    wanted, found = at_once(repeats=repeats), count_dropped(lazy.compute())
    np.testing.assert_array_equal(found.values, wanted.values)
    for name in wanted.coords:
        np.testing.assert_array_equal(found[name], wanted[name])
    assert found.attrs["dropped"] == wanted.attrs["dropped"]
    assert found.attrs["dropped"]["trigger 9"] == 1
    assert found.attrs["dropped"]["peak-to-peak"] > 0
    assert (found.trial_state == "kept").sum() > 5


def test_preprocess_runs__one_task_for_each_run_whatever_is_asked():
    made = lazily()
    cube = made.cubes["sub-01/eeg"]
    both = dict(cube.__dask_graph__()) | {
        key: 0 for one in made.records.values() for key in one.__dask_graph__()
    }
    assert sum(key_split(key) == "preprocess-run" for key in both) == 2
    assert cube.data.chunks[3] == (3, 2)  # blocks are runs
    first = dask.optimize(cube.isel(repeat=slice(0, 3)).drop_vars("trial_state"))[0]
    assert sum("preprocess-run" in str(key) for key in dict(first.__dask_graph__())) == 1
    assert plan(cube).peak_bytes > 4 * 8 * 19 * recorded("1").n_times - 1


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_preprocess_runs__the_same_bits_on_workers(count):
    made = lazily()
    cube, record = made.cubes["sub-01/eeg"], made.records["sub-01/ses-A/run-1"]
    here = dask.compute(cube, record, scheduler="synchronous")
    with workers(count):
        there = dask.compute(cube, record)
    for found in (there, dask.compute(cube, record, scheduler="threads")):
        np.testing.assert_array_equal(found[0].values, here[0].values)
        np.testing.assert_array_equal(found[0].trial_state, here[0].trial_state)
        assert found[1] == here[1]


def test_preprocess_runs__threads_leave_mne_as_it_was(capfd):
    made = lazily()
    for level in ("INFO", "WARNING"):
        with mne.utils.use_log_level(level):
            before = list(warnings.filters)
            dask.compute(made.cubes, made.records, scheduler="threads", num_workers=4)
            assert mne.utils.logger.level == getattr(logging, level)
            assert warnings.filters == before
    assert "".join(capfd.readouterr()) == ""


def test_preprocess_runs__records_say_what_was_done():
    (records,) = dask.compute(lazily().records, scheduler="synchronous")
    assert list(records) == ["sub-01/ses-A/run-1", "sub-01/ses-A/run-2"]
    first = records["sub-01/ses-A/run-1"]
    assert json.loads(json.dumps(first)) == first
    assert first["filter"] == {"l_freq": 0.5, "h_freq": 30.0}
    assert first["ica"]["eog"] == [0]
    assert first["limits"] == {"eeg": 7e-6}


def test_preprocess_runs__one_decomposition_for_all_runs_of_a_subject(computing_forbidden):
    pooled = CleanSettings(filter=CLEAN.filter, ica=Ica(7, ecg_threshold=0.5, eog_threshold=0.8, pooled=True))
    with computing_forbidden():
        cube = lazily(clean=pooled).cubes["sub-01/eeg"]
    names = [key_split(key) for key in dict(cube.__dask_graph__())]
    assert (names.count("preprocess-ica"), names.count("preprocess-run")) == (1, 2)
    filtered = [clean(one.open(), CleanSettings(filter=CLEAN.filter)).raw for one in RUNS]
    wanted = at_once(pooled, ica=fit_ica(filtered, pooled.ica))
    np.testing.assert_array_equal(cube.compute(scheduler="synchronous").values, wanted.values)
    assert not np.array_equal(wanted.values, at_once().values, equal_nan=True)


def test_preprocess_runs__subjects_and_kinds_are_cubes_of_their_own():
    info = recordings.helmet(12)

    def field(seed):
        data = np.random.default_rng(seed).normal(0, 1e-12, (36, 1000))
        return mne.io.RawArray(data, info, verbose="error")

    runs = [
        Run(partial(field, n), Onsets((1.0, 2.5), ("a", "b")), subject, str(n))
        for n, subject in enumerate(("s1", "s2", "s1"))
    ]
    made = preprocess_runs(runs, CleanSettings(), EpochSettings(tmax=0.3), kinds=["mag", "grad"], dataset="d")
    assert list(made.cubes) == ["s1/mag", "s1/grad", "s2/mag", "s2/grad"]
    assert list(made.cubes["s1/grad"].run.values) == ["0", "2"]
    assert made.cubes["s1/mag"].attrs["units"] == "T"
    assert list(made.records) == ["s1/run-0", "s1/run-2", "s2/run-1"]
    raw = field(2)
    wanted = raw.get_data("mag")[:, 250 - 50 : 250 + 76]
    wanted = wanted - wanted[:, :51].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        made.cubes["s1/mag"].sel(stimulus="a", repeat=1), wanted, rtol=1e-5, atol=1e-18
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run-1_raw.fif"
    recorded("1").save(path, verbose="error")
    return path


def test_preprocess_runs__reads_files_and_notices_other_ones(file):
    run = Run(file, CODES, "sub-01", "1")
    names = [lazily([run]).cubes["sub-01/eeg"].data.name for _ in range(2)]
    assert names[0] == names[1]
    lazy = lazily([run]).cubes["sub-01/eeg"]
    recordings.eeg(order=ORDERS["1"], seed=9).save(file, overwrite=True, verbose="error")
    assert lazily([run]).cubes["sub-01/eeg"].data.name != names[0]
    recorded("2").save(file, overwrite=True, verbose="error")
    assert lazily([run]).cubes["sub-01/eeg"].data.name != names[0]
    with pytest.raises(InputError, match=r"sub-01/run-1: the events of .*run-1_raw.fif are others"):
        lazy.compute(scheduler="synchronous")


def test_preprocess_runs__a_cube_goes_to_a_store_and_comes_back(file, tmp_path):
    cube = count_dropped(lazily([Run(file, CODES, "sub-01", "1")]).cubes["sub-01/eeg"].compute())
    stores.save(tmp_path / "store", "sub-01/eeg", cube, made_from=cube.attrs["preprocessing"])
    back = stores.open_cube(tmp_path / "store", "sub-01/eeg")
    np.testing.assert_array_equal(back.values, cube.values)
    assert list(back.trial_state.values.ravel()) == list(cube.trial_state.values.ravel())
    assert back.attrs["preprocessing"]["epoch"]["decim"] == 2


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        ("nowhere_raw.fif", "sub-01/run-1: there is no recording nowhere_raw.fif"),
        (partial(int, 3), "its function gave int; wanted an mne.io.BaseRaw"),
        (Path(__file__), r"test_preprocess_runs.py: reading: "),
    ],
)
def test_preprocess_runs__says_what_is_wrong(recording, message):
    with pytest.raises(InputError, match=message):
        lazily([Run(recording, CODES, "sub-01", "1")])


def test_preprocess_runs__broken_file_is_told(file):
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"run-1_raw.fif"):
        lazily([Run(file, CODES, "sub-01", "1")])


def test_preprocess_runs__runs_must_agree():
    fewer = partial(recordings.eeg, channels=15)
    with pytest.raises(InputError, match="run-1 has 16 eeg channels and sub-01/run-2 15"):
        lazily([Run(partial(recorded, "1"), CODES, "sub-01", "1"), Run(fewer, CODES, "sub-01", "2")])
    with pytest.raises(InputError, match="no runs or no kinds"):
        lazily([])
    with pytest.raises(ValueError, match="repeats is 'run'; choose 'by run' or 'pooled'"):
        lazily(repeats="run")
