"""The `preprocess` step of a study: recordings of a table or of a dataset become cubes of trials."""

import re

import numpy as np
import pytest
import yaml

import stores
from pipeline.cluster import Limits
from pipeline.errors import PlanError
from pipeline.preprocess import (
    FACES_MEG,
    CleanSettings,
    EpochSettings,
    Filter,
    Onsets,
    Run,
    preprocess_runs,
)
from pipeline.study import Run as StudyRun
from pipeline.study import StudyError, check, read_study, run_study
from pipeline.study.plan import plan_lines
from pipeline.study.recordings import changed
from pipeline.study.run import Silent
from stores.errors import InputError
from tests import recordings
from tests.layouts import ds000117

ORDERS = {"1": [1, 2, 3, 1, 2, 3], "2": [3, 2, 1]}


def seconds(count):
    return [2.0 + recordings.SPACING * n for n in range(count)]


@pytest.fixture
def table(tmp_path):
    """Two recordings, and tables in which one event shows nothing."""
    folder = tmp_path / "lab"
    folder.mkdir()
    rows = ["recording,events,subject,run,bads"]
    for run, order in ORDERS.items():
        recordings.eeg(order=order, seed=int(run)).save(folder / f"{run}_raw.fif", verbose="error")
        shown = [f"{at}\t{recordings.STIMULI[code]}" for at, code in zip(seconds(9), order, strict=False)]
        (folder / f"{run}.tsv").write_text("\n".join(["onset\tshown", *shown, "30.0\tn/a"]) + "\n")
        rows.append(f"{run}_raw.fif,{run}.tsv,sub-01,{run},E03")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    return folder / "runs.csv"


def study(tmp_path, **step):
    tree = {"title": "T", "store": str(tmp_path / "store"), "steps": {"eeg": {"verb": "preprocess", **step}}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return read_study(file)


class Heard(Silent):
    def __init__(self):
        self.cubes, self.texts = {}, []

    def made(self, cube, reused):
        self.cubes[cube] = reused

    def said(self, text):
        self.texts.append(text)


def of_table(tmp_path, table, **more):
    how = {
        "recordings": "table",
        "path": str(table),
        "stimulus": "shown",
        "kinds": ["eeg"],
        "clean": {"filter": {"h_freq": 30.0}},
        "epoch": {"tmax": 0.5, "decim": 2},
    }
    return study(tmp_path, **(how | more))


def test_preprocess_step__makes_the_cubes_of_a_table(tmp_path, table):
    asked = of_table(tmp_path, table)
    assert list(plan_lines(asked, check(asked))) == [
        "eeg (preprocess): 1 cubes, 0 there already; 2 recordings"
    ]
    for reused in (False, True):
        heard = Heard()
        run_study(StudyRun(asked, heard))
        assert heard.cubes == {"eeg/sub-01/eeg": reused}
        assert heard.texts == [
            f"sub-01/run-{run}: 1 events without a stimulus are left out" for run in ORDERS
        ]
    runs = [
        Run(
            table.parent / f"{run}_raw.fif",
            Onsets(tuple(seconds(len(order))), tuple(recordings.STIMULI[one] for one in order)),
            "sub-01",
            run,
            bads=("E03",),
        )
        for run, order in ORDERS.items()
    ]
    clean, cut = CleanSettings(filter=Filter(h_freq=30.0)), EpochSettings(tmax=0.5, decim=2)
    wanted = preprocess_runs(runs, clean, cut, kinds=["eeg"], dataset="runs").cubes["sub-01/eeg"]
    found = stores.open_cube(tmp_path / "store", "eeg/sub-01/eeg")
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.attrs["dataset"] == "runs"
    assert stores.notes(tmp_path / "store", "eeg/sub-01/eeg")["run-2"]["bads"]


def test_preprocess_step__makes_the_cubes_of_ds000117(tmp_path):
    ds000117.write(tmp_path / "ds000117")
    asked = study(
        tmp_path,
        recordings="ds000117-sss",
        path=str(tmp_path / "ds000117"),
        preset="faces-meg",
        into="faces",
        kinds=["mag"],
        clean={
            "bads": {"then": "missing"},
            "filter": None,
            "ica": None,
            "reference": "",
            "channel_types": {"EEG061": "eog"},
        },
        epoch={"baseline": None, "reject": {}},
    )
    run_study(StudyRun(asked, Silent()))
    cube = stores.open_cube(tmp_path / "store", "faces/sub-01/mag")
    for stimulus, shown in ds000117.SHOWN.items():
        for run, sample in shown:
            wanted = ds000117.numbers(run, "mag", sample, sss=True) * 1e-14
            trials = cube.sel(stimulus=stimulus).isel(repeat=cube.run.values == f"{run:02d}").values
            assert any(np.allclose(trials[..., n], wanted, rtol=1e-6) for n in range(trials.shape[-1]))


def test_preprocess_step__mistakes_are_found_before_anything_runs(tmp_path, table):
    for how, message in (
        ({"preset": "faces"}, "preset is 'faces'; did you mean 'faces-meg'?"),
        ({"kinds": []}, "no kinds of channels"),
        ({"subjects": ["sub-1"]}, "no recordings of 'sub-1'; did you mean 'sub-01'?"),
        ({"clean": {"filter": {"h_frq": 3.0}}}, "unknown key 'clean.filter.h_frq'"),
        ({"clean": {"fliter": None}}, "unknown key 'clean.fliter'; did you mean 'filter'?"),
        ({"epoch": {"tmax": "late"}}, "epoch.tmax: input should be a valid number"),
        ({"stimulus": "stim_file"}, "stim_file"),
        ({"path": "nowhere.csv"}, "nowhere.csv is no file"),
    ):
        with pytest.raises(StudyError, match=re.escape(message)):
            check(of_table(tmp_path, table, **how))
    assert not (tmp_path / "store").exists()


def test_preprocess_step__workers_too_small_for_a_recording_are_refused(tmp_path, table, monkeypatch):
    monkeypatch.setattr("pipeline.study.run.limits", lambda _: Limits(1, 1, 281 * 10**6, {}))
    with pytest.raises(PlanError, match=r"sub-01: cleaning a recording holds .*a worker has 281 MB"):
        run_study(StudyRun(of_table(tmp_path, table), Silent(), client=object()))


def test_changed__keeps_what_is_not_named():
    found = changed(FACES_MEG.clean, {"filter": {"h_freq": 40.0}, "maxwell": None}, "clean")
    assert found.filter == Filter(h_freq=40.0, eog_l_freq=1.0)
    assert found.maxwell is None
    assert found.ica == FACES_MEG.clean.ica
    assert changed(FACES_MEG.epoch, {}, "epoch") == FACES_MEG.epoch
    with pytest.raises(
        InputError, match=r"clean\.bads\.find: input should be 'none', 'deviation' or 'maxwell'"
    ):
        changed(CleanSettings(), {"bads": {"find": "devation"}}, "clean")
