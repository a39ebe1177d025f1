"""The floor plan and what a release must hold; see docs/design.md."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house import breaches

ROOT = Path(__file__).resolve().parents[1]

BROKEN = [
    ("stores/open.py", "import pipeline.fill", "knows nothing of computation"),
    ("stores/open.py", "from stores import readers", "not the other way"),
    ("stores/open.py", "from dask.distributed import get_client", "speak to a client"),
    ("stores/readers/nsd.py", "def read():\n    import pickle", "nothing is unpickled"),
    ("pipeline/kernels/rdm.py", "import xarray as xr", "arrays in, arrays out"),
    ("pipeline/kernels/rdm.py", "import dask.array as da", "arrays in, arrays out"),
    ("pipeline/kernels/rdm.py", "import logging", "arrays in, arrays out"),
    ("pipeline/kernels/rdm.py", "from stores.dims import UNIT", "arrays in, arrays out"),
    ("pipeline/kernels/rdm.py", "from pipeline.models import network", "arrays in, arrays out"),
    ("pipeline/models/taps.py", "import zarr", "torch alone"),
    ("pipeline/models/taps.py", "from pipeline.kernels.rdm import rdm", "torch alone"),
    ("pipeline/models/weights.py", "torch.load(path)", "without weights_only=True"),
    ("pipeline/models/weights.py", "np.load(path, allow_pickle=True)", "allow_pickle=True"),
    ("pipeline/cluster/local.py", "from stores.dims import UNIT", "knows no data"),
    ("pipeline/extract.py", "from stores.readers import reader", "verbs know"),
    ("pipeline/rsa/compare.py", "from pipeline import cluster", "verbs know"),
    ("pipeline/rsa/compare.py", "import pipeline.cli", "verbs know"),
    ("pipeline/rsa/compare.py", "if TYPE_CHECKING:\n    from distributed import Client", "speak to a client"),
    ("pipeline/plan.py", "from pipeline.rsa import rdm", "knows no verb"),
    ("pipeline/report/page.py", "from pipeline.rsa import rdm", "results only"),
    ("pipeline/report/page.py", "from pipeline.fill import fill", "results only"),
    ("pipeline/report/page.py", "from stores.readers import reader", "results only"),
]

ALLOWED = [
    ("stores/readers/nsd.py", "from stores.dims import UNIT"),
    ("stores/readers/__init__.py", "from stores.readers import nsd"),
    ("pipeline/kernels/rdm.py", "import numpy as np\nfrom pipeline.kernels.blocks import gram"),
    ("pipeline/models/weights.py", "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)"),
    ("pipeline/rsa/rdm.py", "import dask\nfrom stores import dims\nfrom pipeline.kernels import rdm"),
    ("pipeline/fill.py", "from distributed import Client"),
    ("pipeline/cluster/local.py", "from dask.distributed import LocalCluster"),
    ("pipeline/cli.py", "from pipeline import cluster, report, study\nfrom stores import readers"),
    ("pipeline/report/page.py", "from stores import open_cube\nfrom pipeline.report.figures import bars"),
    ("pipeline/fillings.py", "import stores"),
]


def house(folder, file, source):
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text(source)
    return folder


@pytest.mark.parametrize(("file", "source", "why"), BROKEN)
def test_checker__finds_a_planted_breach(tmp_path, file, source, why):
    found = breaches(house(tmp_path, file, source))
    assert any(why in one and one.startswith(file) for one in found), found


@pytest.mark.parametrize(("file", "source"), ALLOWED)
def test_checker__lets_the_rest_be(tmp_path, file, source):
    assert breaches(house(tmp_path, file, source)) == []


def test_house__arrows_point_down_only():
    assert breaches(ROOT) == []


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("package", ["stores", "pipeline"])
def test_package__is_typed_and_shipped(package):
    assert (ROOT / package / "py.typed").is_file()
    assert package in project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


# Only what every laboratory has may stand in a tracked file: no folder of one machine, no package registry.
FOREIGN = re.compile(
    r"(?<![\w.~}/-])/(?:work|root|home|Users|mnt|opt)/\w"
    r"|pypi\.org|pythonhosted\.org|download\.pytorch\.org|index-url|find-links|trusted-host|file:///"
)


def tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so it cannot be told which files are the project's")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_tracked_files__name_no_machine_and_no_registry():
    found = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("cd /home/someone", True),
        ('root = "/mnt/data/main"', True),
        ("pip install --extra-index-url X", True),
        ("see docs/work/plan.md or ~/home/x and a/root/b", False),
        ("$HOME/opt/x", False),
    ],
)
def test_foreign__tells_a_machine_from_a_relative_path(text, foreign):
    assert bool(FOREIGN.search(text)) is foreign


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(one.name): one for one in map(Requirement, (x for x in lines if x and x[0] != "#"))
    }


def test_constraints__pin_one_exact_version_each():
    for name, pin in pins().items():
        assert re.fullmatch(r"==[^+*,]+", str(pin.specifier)), f"{name}: {pin}"
        assert pin.url is None


def test_constraints__pin_all_that_make_setup_asks_for():
    found, metadata = pins(), project()["project"]
    extras = metadata["optional-dependencies"]
    asked = metadata["dependencies"] + [
        one for name in ("zoo", "s3", "peers", "test") for one in extras[name]
    ]
    for one in map(Requirement, asked):
        pin = found[canonicalize_name(one.name)]
        assert one.specifier.contains(str(pin.specifier).removeprefix("==")), f"{pin} is outside {one}"


def test_makefile__installs_the_pinned_torch():
    assert f"$(INSTALL) torch{pins()['torch'].specifier}\n" in (ROOT / "Makefile").read_text()
