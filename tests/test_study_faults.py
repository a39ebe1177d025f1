"""What a study asks of cubes that cannot be: told in its own words, before anything runs where that can be."""

import numpy as np
import pytest

import stores
from pipeline.study import StudyError, check, read_study
from tests.studies import NETWORK, ran, small, written


@pytest.fixture
def tree(tmp_path):
    return small(tmp_path / "store")


def refusal(tmp_path, tree):
    with pytest.raises(StudyError) as fault:
        check(read_study(written(tmp_path, tree)))
    return str(fault.value)


def brain(tree, subject, change=lambda cube: cube, name=""):
    cube = stores.simulate("fmri", stimuli=12, units=20, subject=subject)
    cube = change(cube.assign_coords(region=("unit", ["V1"] * 8 + ["IT"] * 12)))
    made_from = {"step": "test/2", "subject": subject}
    stores.save(tree["variables"]["store"], name or f"fmri/{subject}", cube, made_from=made_from)


def test_check__steps_that_make_cubes_of_one_name_clash(tmp_path, tree):
    steps = tree["steps"]
    tree["steps"] = {"network": steps["network"], "again": steps["network"] | {"batch": 2}} | steps
    made = f"activations/{NETWORK}-untrained-0/fire9"
    assert (
        f"steps.network and steps.again both make {made} and 1 more; give one of them another `label`"
        in refusal(tmp_path, tree)
    )
    tree["steps"]["again"]["label"] = "small-batches"
    check(read_study(written(tmp_path, tree)))


def test_check__rsa_steps_may_share_candidates(tmp_path, tree):
    tree["steps"]["again"] = tree["steps"]["regions"] | {"method": "corr"}
    check(read_study(written(tmp_path, tree)))


def test_candidates_of_no_network_go_by_their_names(tmp_path, tree):
    tree["steps"] = {"rep": {"verb": "rsa", "candidates": "fmri/*", "reference": "fmri/*"}}
    tree["steps"]["rep"]["candidates"] = ["fmri/*"]
    ran(read_study(written(tmp_path, tree)))
    result = stores.open_cube(tree["variables"]["store"], "rsa/rep")
    assert list(result["candidate"].values) == ["fmri/sub-01", "fmri/sub-02"]
    assert list(result["network"].values) == ["fmri", "fmri"]
    assert list(result["layer"].values) == ["sub-01", "sub-02"]


def test_candidates_at_other_times_are_told(tmp_path, tree):
    meg = stores.simulate("meg_epochs", stimuli=12)
    stores.save(tree["variables"]["store"], "meg/sub-01", meg, made_from={"step": "test/1"})
    tree["steps"]["regions"]["candidates"] = ["activations/*", "meg/*"]
    with pytest.raises(StudyError, match="do not lie at the same times and pairs of stimuli"):
        ran(read_study(written(tmp_path, tree)))


@pytest.mark.parametrize("by", ["region", None])
def test_stimulus_that_is_missing_in_one_subject_is_named(tmp_path, tree, by):
    def holed(cube):
        return cube.where(cube.stimulus != cube.stimulus[3])

    brain(tree, "sub-03", holed)
    gone = str(stores.open_cube(tree["variables"]["store"], "fmri/sub-03").stimulus.values[3])
    tree["steps"]["regions"] |= {"by": by}
    with pytest.raises(StudyError) as fault:
        ran(read_study(written(tmp_path, tree)))
    text = str(fault.value)
    assert text.startswith("steps.regions: stimuli are missing")
    assert (
        f"in 1 of 5 RDMs, which are to be compared on the same stimuli:\n  - fmri/sub-03 lacks 1: {gone!r}\n"
        in text
    )
    root = tree["variables"]["store"]
    whole = stores.open_cube(root, "fmri/sub-03").drop_sel(stimulus=[gone])
    assert "stores.save(root, 'whole/fmri/sub-03', stores.open_cube(root, 'fmri/sub-03')" in text
    assert f".drop_sel(stimulus=[{gone!r}])" in text
    stores.save(root, "whole/fmri/sub-03", whole, made_from={"without": [gone]})
    tree["steps"]["again"] = tree["steps"].pop("regions") | {
        "reference": ["fmri/sub-01", "fmri/sub-02", "whole/fmri/sub-03"],
        "join": "inner",
    }
    cubes, _ = ran(read_study(written(tmp_path, tree)))
    assert np.isfinite(stores.open_cube(root, "rsa/again/V1" if by else "rsa/again")).all()
    assert not any(cubes[name] for name in cubes if name.startswith("rsa/"))


def test_ids_that_differ_are_answered_in_the_words_of_a_study(tmp_path, tree):
    brain(tree, "sub-03", lambda cube: cube.isel(stimulus=slice(0, 10)))
    with pytest.raises(stores.AlignError, match="give the step `join: inner`") as fault:
        ran(read_study(written(tmp_path, tree)))
    assert "how=" not in str(fault.value)


def test_check__an_unknown_name_is_answered_with_ten_at_most(tmp_path, tree):
    for number in range(20):
        brain(tree, f"sub-{number:02}", name=f"other/sub-{number:02}")
    tree["steps"]["regions"]["reference"] = "nothing-like-it"
    tree["steps"]["report"] = {"verb": "report", "results": ["rsa/regions/*", "rdm/regions/*"]}
    (line,) = refusal(tmp_path, tree).splitlines()[1:]
    assert line.count("sub-") <= 10
    assert line.endswith(" more")


def test_check__a_fault_has_no_consequences(tmp_path, tree):
    tree["steps"]["network"]["layers"] = ["fire99"]
    tree["steps"]["regions"]["candidates"] = [f"activations/{NETWORK}-untrained-0/*"]
    tree["steps"]["report"] = {"verb": "report"}
    (line,) = [one for one in refusal(tmp_path, tree).splitlines()[1:] if one.startswith("  - ")]
    assert "fire99" in line


def test_check__results_of_a_step_at_fault_are_not_missed(tmp_path, tree):
    tree["steps"] |= {"a//b": tree["steps"].pop("regions")}
    tree["steps"]["report"] = {"verb": "report", "results": ["rsa/*", "rdm/*"]}
    (line,) = refusal(tmp_path, tree).splitlines()[1:]
    assert "'a//b' cannot name a cube" in line


def test_check__cubes_that_were_only_begun_are_refused(tmp_path, tree):
    brain(tree, "sub-03")
    (tmp_path / "store/fmri/sub-03/complete").unlink()
    assert "steps.regions: fmri/sub-03 is not complete, and no earlier step completes it" in refusal(
        tmp_path, tree
    )


def test_check__results_that_were_only_begun_are_refused_before_a_page_is_made_of_them(tmp_path, tree):
    brain(tree, "sub-03", name="rsa/other")
    (tmp_path / "store/rsa/other/complete").unlink()
    assert "the report at the end: rsa/other is not complete" in refusal(tmp_path, tree)
    tree["steps"]["report"] = {"verb": "report", "results": ["rsa/regions/*"]}
    check(read_study(written(tmp_path, tree)))


def test_check__what_a_report_cannot_show_is_told_before_anything_runs(tmp_path, tree):
    told = "is no result that a report shows; leave it out of `results`"
    made = f"activations/{NETWORK}-untrained-0/fire9"
    tree["steps"]["report"] = {"verb": "report", "results": ["rsa/*", "rdm/*", made, "fmri/sub-01"]}
    assert refusal(tmp_path, tree).splitlines()[1:] == [
        f"  - steps.report: {one} {told}" for one in (made, "fmri/sub-01")
    ]
    tree["steps"]["report"]["results"] = ["rsa/*", "rdm/*"]
    study = read_study(written(tmp_path, tree))
    ran(study)
    check(study)
    del tree["steps"]["report"]
    brain(tree, "sub-03", name="rsa/other")
    assert f"the report at the end: rsa/other {told}" in refusal(tmp_path, tree)


def test_run_study__results_of_a_region_that_were_only_begun_are_completed(tmp_path, tree):
    tree["steps"]["report"] = {"verb": "report", "results": ["rsa/*", "rsa/regions/V1"]}
    study = read_study(written(tmp_path, tree))
    ran(study)
    (tmp_path / "store/rsa/regions/V1/complete").unlink()
    cubes, _ = ran(study)
    assert cubes["rsa/regions/V1"] is False
    assert cubes["rsa/regions/IT"] is True


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (None, "is not a folder of images"),
        ((), "no images in"),
        (("notes.txt",), "no images in"),
        (("a.png", "a.jpg"), "'a': a.jpg, a.png"),
    ],
)
def test_check__looks_at_the_names_in_a_folder_of_images(tmp_path, tree, files, fault):
    folder = tmp_path / "pictures"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).touch()
    del tree["steps"]["network"]["stimuli"]
    tree["steps"]["network"]["folder"] = str(folder)
    text = refusal(tmp_path, tree)
    assert "steps.network.folder: " in text
    assert fault in text
    assert "no cube is called" not in text


def test_check__pages_of_one_name_clash(tmp_path, tree):
    tree["steps"] |= {"p1": {"verb": "report"}, "p2": {"verb": "report", "file": "./report.html"}}
    assert "steps.p1 and steps.p2 both write ./report.html; give one of them another `file`" in refusal(
        tmp_path, tree
    )
    tree["steps"]["p2"]["file"] = "second.html"
    check(read_study(written(tmp_path, tree)))


@pytest.mark.parametrize("label", ["../../x", "a*b", "ü x", "x/<y>"])
def test_check__names_that_no_cube_can_have_are_told(tmp_path, tree, label):
    tree["steps"]["network"]["label"] = label
    assert f"steps.network: 'activations/{label}/fire9' cannot name a cube" in refusal(tmp_path, tree)


def test_check__a_pattern_is_no_cube_of_pictures(tmp_path, tree):
    tree["steps"]["network"]["stimuli"] = "pict*"
    assert "steps.network.stimuli: 'pict*' must name one cube" in refusal(tmp_path, tree)


def test_check__layers_without_units_are_told(tmp_path, tree):
    (tmp_path / "net.py").write_text(
        "import torch\nclass None_(torch.nn.Module):\n    def forward(self, x):\n        return x[:, :0]\n"
        "def build():\n    return torch.nn.Sequential(None_()), dict(resize=[8, 8])\n"
    )
    tree["steps"]["network"] = {
        "verb": "extract",
        "network": f"python:{tmp_path}/net.py:build",
        "untrained": 0,
        "stimuli": "pictures",
        "layers": ["0"],
    }
    assert "layer '0' of" in (text := refusal(tmp_path, tree))
    assert "has no units" in text


def test_check__imports_that_no_report_shows_are_told(tmp_path, tree, monkeypatch):
    cubes = {"sub-03": stores.simulate("fmri", stimuli=3), "rdms": stores.simulate("fmri", stimuli=3)}
    cubes["rdms"].attrs["modality"] = "rdm_stack"
    monkeypatch.setattr("pipeline.study.imports.asked", lambda _: None)
    monkeypatch.setattr("pipeline.study.imports.read", lambda _: cubes)
    tree["steps"]["new"] = {"verb": "import", "reader": "kriegeskorte2008", "path": "/data"}
    tree["steps"]["page"] = {"verb": "report", "results": ["new/*"]}
    assert refusal(tmp_path, tree).splitlines()[1:] == [
        "  - steps.page: new/sub-03 is no result that a report shows; leave it out of `results`"
    ]


def test_check__a_folder_of_images_may_lie_at_home(tmp_path, tree, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    del tree["steps"]["network"]["stimuli"]
    tree["steps"]["network"]["folder"] = "~/pictures"
    check(read_study(written(tmp_path, tree)))
