"""The same study once more: patterns find what they found at first, whatever later steps have stored since."""

import numpy as np
import pytest
from PIL import Image

import stores
from pipeline.study import StudyError, check, read_study
from pipeline.study.plan import plan_lines
from tests.studies import ran, written

NET = """import torch
def build():
    pool = torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), pool, torch.nn.Flatten()), dict(resize=[8, 8])
"""


@pytest.fixture
def tree(tmp_path):
    """A study of a tiny network, extracted twice under two labels, with geometry in between."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for n in range(5):
        pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"stimulus-{n:06}.png")
    for subject in ("sub-01", "sub-02"):
        cube = stores.simulate("fmri", stimuli=5, units=6, subject=subject)
        ids = [f"stimulus-{n:06}" for n in range(5)]
        made_from = {"step": "test/1", "subject": subject}
        stores.save(tmp_path / "st", f"fmri/{subject}", cube.assign_coords(stimulus=ids), made_from=made_from)
    extract = {
        "verb": "extract",
        "network": f"python:{tmp_path}/net.py:build",
        "untrained": 0,
        "folder": str(tmp_path / "pictures"),
        "layers": ["0"],
    }
    rsa = {"verb": "rsa", "candidates": ["activations/*"], "reference": "fmri/*"}
    return {
        "title": "Again",
        "store": str(tmp_path / "st"),
        "steps": {"one": {**extract, "label": "a"}, "r1": rsa, "two": {**extract, "label": "b"}},
    }


def candidates(tree, step):
    return list(stores.open_cube(tree["store"], f"rdm/{step}/candidates")["candidate"].values)


def test_run_study__the_same_command_again_remakes_nothing(tmp_path, tree):
    tree["steps"]["page"] = {"verb": "report", "results": ["rsa/*", "rdm/r1/candidates"]}
    study = read_study(written(tmp_path, tree))
    first, _ = ran(study)
    again, _ = ran(study)
    assert first.keys() == again.keys()
    assert all(again.values())
    assert candidates(tree, "r1") == ["a/0"]
    for line in plan_lines(study, check(study)):
        assert "nothing to do" in line or "(report)" in line


def test_run_study__a_pattern_finds_more_for_a_later_step(tmp_path, tree):
    tree["steps"]["r2"] = tree["steps"]["r1"]
    tree["steps"]["r3"] = tree["steps"]["r1"] | {"method": "corr"}
    study = read_study(written(tmp_path, tree))
    first, _ = ran(study)
    assert candidates(tree, "r1") == ["a/0"]
    assert candidates(tree, "r2") == ["a/0", "b/0"]
    assert "rdm/r3/candidates" not in stores.catalog(tree["store"]).index  # those of r2 are the same
    assert check(study)["r3"] == ["rdm/r2/candidates", "rsa/r3"]
    again, _ = ran(study)
    assert first.keys() == again.keys()
    assert all(again.values())


def test_run_study__what_a_killed_later_step_began_is_in_nobodys_way(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    ran(study)
    (tmp_path / "st/activations/b/0/complete").unlink()
    again, _ = ran(study)
    assert [name for name, reused in again.items() if not reused] == ["activations/b/0"]


def test_check__what_only_a_later_step_makes_is_not_there(tmp_path, tree):
    tree["steps"]["r1"] = tree["steps"]["r1"] | {"candidates": ["activations/b/0"]}
    for _ in range(2):
        with pytest.raises(
            StudyError, match=r"steps\.r1: no cube is called 'activations/b/0' until a later step makes it"
        ):
            check(read_study(written(tmp_path, tree)))
        ran(read_study(written(tmp_path, tree | {"steps": {"two": tree["steps"]["two"]}})))


def test_run_study__a_second_layer_alone_is_made(tmp_path, tree):
    tree["steps"] = {"one": tree["steps"]["one"]}
    ran(read_study(written(tmp_path, tree)))
    tree["steps"]["one"]["layers"] = ["0", "1"]
    again, _ = ran(read_study(written(tmp_path, tree)))
    assert again == {"activations/a/0": True, "activations/a/1": False}
