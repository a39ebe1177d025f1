"""Regions of an `rsa` step: any labels on the units, numbers and words with spaces among them."""

from pathlib import Path

import numpy as np
import pytest

import stores
from pipeline.study import StudyError, read_study
from tests.studies import ran, written

UNITS = 8


@pytest.fixture
def run(tmp_path):
    def run(labels, second=None, by="area"):
        for n, its in enumerate((labels, labels if second is None else second)):
            cube = stores.simulate("fmri", stimuli=5, units=UNITS, subject=f"sub-{n}")
            cube = cube.assign_coords({by: ("unit", its)})
            stores.save(tmp_path / "st", f"fmri/sub-{n}", cube, made_from={"step": "test/1", "subject": n})
        step = {"verb": "rsa", "candidates": ["fmri/sub-0"], "reference": "fmri/*", "by": by}
        tree = {"title": "T", "store": str(tmp_path / "st"), "steps": {"r": step}}
        return ran(read_study(written(tmp_path, tree)))

    return run


def halves(one, other):
    return np.array([one] * 4 + [other] * 4)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (halves(1, 2), ["1", "2"]),
        (halves(True, False), ["True", "False"]),
        (halves(0.1, np.nan).astype(np.float32), ["0.1"]),
        (halves("left IT", "LO | pFs").astype(object), ["left-IT", "LO-pFs"]),
        (halves("V1/V2", "Größe").astype(object), ["V1-V2", "Größe"]),
    ],
)
def test_rsa__by_labels_of_any_kind(tmp_path, run, labels, names):
    cubes, _ = run(labels)
    assert list(cubes) == [
        "rdm/r/candidates",
        *(f"{kind}/r/{one}" for one in names for kind in ("rdm", "rsa")),
    ]
    measured = stores.open_cube(tmp_path / "st", f"rdm/r/{names[0]}").sel(subject="sub-0").values[0]
    patterns = stores.open_cube(tmp_path / "st", "fmri/sub-0").mean("repeat").values[:, :4, 0]
    np.testing.assert_allclose(measured, (1 - np.corrcoef(patterns))[np.triu_indices(5, 1)], atol=1e-5)


def test_rsa__keeps_the_true_label(tmp_path, run):
    _, (page,) = run(halves("left IT", "V1").astype(object))
    assert stores.open_cube(tmp_path / "st", "rsa/r/left-IT").attrs["reference"] == "r left IT"
    assert stores.open_cube(tmp_path / "st", "rdm/r/left-IT").attrs["region"] == "left IT"
    assert "left IT" in Path(page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (("left IT", "left-IT"), "'left IT' and 'left-IT' would both be stored as 'left-IT'"),
        (("V1", "candidates"), "the candidates and 'candidates' would both"),
        (("V1", ".."), "cannot name a cube"),
        (("", ""), "no unit of the reference has a label"),
    ],
)
def test_rsa__labels_that_give_no_names_are_told_before_anything_is_made(tmp_path, run, labels, fault):
    with pytest.raises((StudyError, stores.StoreError), match=fault):
        run(halves(*labels).astype(object))
    assert not stores.catalog(tmp_path / "st").index.str.startswith("rdm/").any()


def test_rsa__units_without_a_label_in_one_cube_alone_are_no_region(run):
    cubes, _ = run(halves("V1", "IT").astype(object), np.array(["", *["V1"] * 3, *["IT"] * 4], object))
    assert [name for name in cubes if name.startswith("rsa/")] == ["rsa/r/V1", "rsa/r/IT"]


def test_rsa__a_label_that_one_cube_lacks_is_named(run):
    with pytest.raises(StudyError, match="by: area: 2 is not in every cube"):
        run(halves(1, 2), halves(1, 1))
