"""What a dry run says is what the run does."""

import pytest

import stores
from pipeline.cluster import Limits
from pipeline.errors import PlanError
from pipeline.study import StudyError, check, read_study
from pipeline.study.plan import plan_lines
from tests.laziness import computing_forbidden
from tests.shared import shared
from tests.studies import NETWORK, ran, small, written


@pytest.fixture
def tree(tmp_path):
    return small(tmp_path / "store")


def lines(tmp_path, tree, settings=(), **options):
    study = read_study(written(tmp_path, tree), settings)
    return dict(line.split(": ", 1) for line in plan_lines(study, check(study), **options))


def test_plan__names_a_region_each_once_they_are_known(tmp_path, tree):
    assert "for each region that there will be" in lines(tmp_path, tree)["regions (rsa)"]
    ran(read_study(written(tmp_path, tree)))
    plan = lines(tmp_path, tree)
    assert plan["network (extract)"] == "2 cubes, 2 there already; nothing to do"
    assert plan["regions (rsa)"] == "5 cubes, 5 there already; nothing to do"
    (tmp_path / "store/rsa/regions/IT/complete").unlink()
    assert lines(tmp_path, tree)["regions (rsa)"].startswith("5 cubes, 4 there already; 2 candidates against")


@pytest.mark.parametrize(
    ("setting", "step", "change"),
    [
        (
            "steps.network.transform={resize: [48, 48], crop: 47}",
            "network (extract)",
            "transform.crop: 48 -> 47",
        ),
        ("steps.regions.method=corr", "regions (rsa)", 'method: "spearman" -> "corr"'),
    ],
)
def test_plan__tells_of_what_the_run_refuses(tmp_path, tree, setting, step, change):
    ran(read_study(written(tmp_path, tree)))
    line = lines(tmp_path, tree, [setting])[step]
    assert "the run refuses what was made from something else" in line
    assert change in line
    assert "--overwrite" in line
    with pytest.raises(stores.KeyMismatchError):
        ran(read_study(written(tmp_path, tree), [setting]))
    for line in lines(tmp_path, tree, [setting], overwrite=True).values():
        assert "0 there already" in line
        assert "refuses" not in line


def test_plan__pictures_that_changed_are_noticed(tmp_path, tree):
    ran(read_study(written(tmp_path, tree)))
    pictures = stores.simulate("images", stimuli=12)
    pictures[0, 0] += 1
    stores.save(tmp_path / "store", "pictures", pictures, made_from={"step": "test/2"}, overwrite=True)
    plan = lines(tmp_path, tree)
    assert "stimuli.sha256" in plan["network (extract)"]
    assert "tasks are counted once these are there" in plan["regions (rsa)"]


def test_plan__a_damaged_record_is_told(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    ran(study)
    cube = tmp_path / f"store/activations/{NETWORK}-untrained-0/fire9"
    (cube / "complete").unlink()
    (cube / "origin.json").write_text("[]")
    with pytest.raises(stores.CorruptError, match=r"nobody can tell what activations/.*fire9 was made from"):
        lines(tmp_path, tree)


def test_plan__counts_bytes_by_the_transform_of_the_step(tmp_path, tree):
    tree["steps"]["network"]["layers"] = ["conv1"]
    small_pictures = lines(tmp_path, tree)["network (extract)"]
    del tree["steps"]["network"]["transform"]
    assert lines(tmp_path, tree)["network (extract)"] != small_pictures


def test_plan__takes_a_network_whose_transform_the_step_gives(tmp_path, tree):
    file = tmp_path / "own.py"
    file.write_text("import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Flatten())\n")
    tree["steps"]["network"] |= {"network": f"python:{file}:build", "layers": ["0"]}
    assert "writes 332 kB" in lines(tmp_path, tree)["network (extract)"]


def test_plan__refuses_workers_that_the_run_would_refuse(tmp_path, tree):
    with pytest.raises(PlanError, match="a worker has 400 MB"):
        lines(tmp_path, tree, found=Limits(2, 4, 400 * 10**6, {}))
    assert lines(tmp_path, tree, found=Limits(2, 2, 4 * 10**9, {}))


def test_plan__an_unknown_coordinate_is_told(tmp_path, tree):
    ran(read_study(written(tmp_path, tree)))
    with pytest.raises(StudyError, match="no coordinate 'regio' on its units; did you mean 'region'"):
        lines(tmp_path, tree, ["steps.regions.by=regio"])


def test_plan__of_measured_cubes_computes_nothing(tmp_path, tree):
    study = read_study(written(tmp_path, tree))
    ran(study)
    del tree["steps"]["network"]
    with computing_forbidden():
        assert "nothing to do" in lines(tmp_path, tree)["regions (rsa)"]


def test_plan__imports_are_compared_by_what_they_are_made_from(tmp_path):
    step = {
        "verb": "import",
        "reader": "kriegeskorte2008",
        "path": str(shared("data/rsa92-kriegeskorte2008")),
    }
    tree = {"title": "T", "store": str(tmp_path / "store"), "steps": {"objects": step}}
    ran(read_study(written(tmp_path, tree)))
    assert lines(tmp_path, tree)["objects (import)"] == "3 cubes, 3 there already; nothing to do"
    images = stores.open_cube(tmp_path / "store", "objects/images").compute()
    stores.save(tmp_path / "store", "objects/images", images, made_from={"step": "other/1"}, overwrite=True)
    line = lines(tmp_path, tree)["objects (import)"]
    assert "the run refuses what was made from something else: objects/images (cube: absent" in line
