"""A study file: every mistake at once, what runs, what is reused."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import stores
from pipeline.cluster import Limits
from pipeline.errors import PlanError
from pipeline.study import StudyError, check, read_study
from tests.studies import NETWORK, ran, small, written


@pytest.fixture
def tree(tmp_path):
    return small(tmp_path / "store")


def test_run_study__makes_what_is_missing_and_reuses_the_rest(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    cubes, (page,) = ran(study)
    root = study.store
    assert [name for name in cubes if name.startswith("rsa/")] == ["rsa/regions/V1", "rsa/regions/IT"]
    assert not any(cubes.values())
    result = stores.validate(stores.open_cube(root, "rsa/regions/IT"))
    assert list(result["layer"].values) == ["fire9", "logits"]
    assert result["ceiling_lower"].values <= result["ceiling_upper"].values
    assert "Small" in Path(page).read_text(encoding="utf-8")
    again, _ = ran(study)
    assert all(again.values())
    assert again.keys() == cubes.keys()
    assert stores.verify(root) == []


def test_run_study__scores_equal_the_plain_computation(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    ran(study)

    def rdm(name, region=None):
        cube = stores.open_cube(study.store, name).compute()
        cube = cube if region is None else cube.isel(unit=cube.region.values == region)
        patterns = cube.mean("repeat").values[:, :, 0].astype(float)
        return (1 - np.corrcoef(patterns))[np.triu_indices(len(patterns), 1)]

    network = rdm(f"activations/{NETWORK}-untrained-0/fire9")
    brains = [rdm(f"fmri/{subject}", "V1") for subject in ("sub-01", "sub-02")]
    result = stores.open_cube(study.store, "rsa/regions/V1").compute()
    wanted = spearmanr(network, sum(brains) / 2)[0]
    assert float(result.sel(candidate=f"{NETWORK}-untrained-0/fire9").isel(time=0)) == pytest.approx(
        wanted, abs=1e-6
    )
    each = sum(spearmanr(network, brain)[0] for brain in brains) / 2
    assert float(result["subject_score"].values[0, 0]) == pytest.approx(each, abs=1e-6)


def test_changed_parameter_is_refused_and_overwrite_replaces(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    ran(study)
    other = read_study(written(tmp_path, tree), ["steps.regions.method=corr"])
    with pytest.raises(stores.KeyMismatchError, match='method: "spearman" -> "corr"'):
        ran(other)
    ran(other, overwrite=True)
    assert stores.open_cube(study.store, "rsa/regions/V1").attrs["method"] == "corr"


def test_changed_transform_seed_and_pictures_change_the_key(tmp_path, tree):
    ran(read_study(written(tmp_path, tree)))
    with pytest.raises(stores.KeyMismatchError, match=r"transform\.crop"):
        ran(read_study(written(tmp_path, tree), ["steps.network.transform={resize: [48, 48], crop: 47}"]))
    pictures = stores.simulate("images", stimuli=12)
    pictures[0, 0] += 1
    stores.save(
        tree["variables"]["store"], "pictures", pictures, made_from={"step": "test/2"}, overwrite=True
    )
    with pytest.raises(stores.KeyMismatchError, match=r"stimuli\.sha256"):
        ran(read_study(written(tmp_path, tree)))


def test_ids_that_differ_are_refused_with_counts(tmp_path, tree):
    cube = stores.simulate("fmri", stimuli=12, units=20, subject="sub-03").isel(stimulus=slice(0, 10))
    cube = cube.assign_coords(region=("unit", ["V1"] * 8 + ["IT"] * 12))
    stores.save(tree["variables"]["store"], "fmri/sub-03", cube, made_from={"step": "test/1"})
    with pytest.raises(stores.AlignError, match="2 dropped, absent from cube 5"):
        ran(read_study(written(tmp_path, tree)))
    cubes, _ = ran(read_study(written(tmp_path, tree), ["steps.regions.join=inner"]))
    assert stores.open_cube(tree["variables"]["store"], "rsa/regions/V1").attrs["subjects"] == 3
    assert cubes["rsa/regions/V1"] is False


def test_read_study__lists_every_mistake_at_once(tmp_path, tree):
    tree["steps"]["network"]["layer"] = ["fire9"]
    tree["steps"]["regions"] |= {"method": "spearmn", "by": 3}
    tree["stor"] = "x"
    tree["steps"]["third"] = {"verb": "extrct"}
    with pytest.raises(StudyError) as fault:
        read_study(written(tmp_path, tree), ["stre=/x", "steps.none.method=corr"])
    text = str(fault.value)
    for part in (
        "unknown key 'steps.network.layer'; did you mean 'layers'?",
        "did you mean 'spearman'?",
        "steps.regions.by",
        "unknown key 'stor'; did you mean 'store'?",
        "verb is 'extrct'; did you mean 'extract'?",
        "--set stre: the study has no variable of this name; did you mean 'store'?",
        "--set steps.none.method",
    ):
        assert part in text


def test_variables_without_value_are_named(tmp_path, tree):
    tree["variables"]["store"] = None
    with pytest.raises(StudyError, match="variable 'store' has no value; give one with --set store="):
        read_study(written(tmp_path, tree))


def test_check__finds_missing_inputs_before_anything_runs(tmp_path, tree):
    steps = tree["steps"]
    steps["network"] |= {"layers": ["fire9", "fire99"]}
    steps["folder"] = steps["network"] | {"network": "squeezenet1_0-cafe", "layers": ["conv1"]}
    steps["import"] = {"verb": "import", "reader": "kriegeskorte208", "path": "/nowhere"}
    steps["import2"] = {"verb": "import", "reader": "kriegeskorte2008", "path": "/nowhere"}
    steps["regions"]["reference"] = "fmr/*"
    steps["report"] = {"verb": "report", "file": "a/b.html"}
    with pytest.raises(StudyError) as fault:
        check(read_study(written(tmp_path, tree)))
    text = str(fault.value)
    for part in (
        "fire99",
        "did you mean 'fire9'",
        "squeezenet1_0-caffe",
        "Did you mean 'kriegeskorte2008'?",
        "path /nowhere does not exist",
        "no cube is called 'fmr/*'",
        "'a/b.html' is not a file name",
    ):
        assert part.lower() in text.lower()
    assert not stores.catalog(tree["variables"]["store"]).index.str.startswith("activations").any()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1, 2", "is not YAML"),
        ("- 1", "holds no study"),
        ("", "holds no study"),
        ("!!python/object:os.x {}", "YAML"),
    ],
)
def test_read_study__refuses_what_is_no_study(tmp_path, text, fault):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=fault):
        read_study(path)


def test_read_study__missing_file(tmp_path):
    with pytest.raises(StudyError, match="there is no study file"):
        read_study(tmp_path / "none.yaml")


def test_extraction_that_workers_cannot_hold_is_refused_with_numbers(tmp_path, tree, monkeypatch):
    study = read_study(written(tmp_path, tree))
    monkeypatch.setattr("pipeline.study.run.limits", lambda _: Limits(2, 4, 400 * 10**6, {}))
    with pytest.raises(
        PlanError, match=r"a task holds .* worker with 2 at a time.* a worker has 400 MB"
    ) as found:
        ran(study, client=object())
    assert "`batch` (it is 16)" in str(found.value)
    assert not stores.catalog(tmp_path / "store").index.str.startswith("activations/").any()
