import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def home(tmp_path):
    """The two packages as installed, with little in them but their guards."""
    home = tmp_path / "site"
    for package in ("stores", "pipeline"):
        (home / package).mkdir(parents=True)
    shutil.copy(ROOT / "stores/guard.py", home / "stores/guard.py")
    shutil.copy(ROOT / "pipeline/command.py", home / "pipeline/command.py")
    shutil.copy(ROOT / "pipeline/__init__.py", home / "pipeline/__init__.py")
    (home / "stores/__init__.py").write_text(
        "from stores.guard import require_own\nrequire_own('pipeline')\n"
    )
    (home / "pipeline/cli.py").write_text("def main():\n    print('ran')\n")
    return home


def python(*arguments, path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd=path[-1].parent,  # not the checkout, whose packages `python -c` would find first
        capture_output=True,
        text=True,
        timeout=60,
    )


def foreign(folder, name, *, init=True):
    (folder / name).mkdir(parents=True)
    if init:
        (folder / name / "__init__.py").write_text("raise SystemExit('the foreign package was imported')\n")
    return folder


@pytest.mark.parametrize("imported", ["stores", "pipeline"])
def test_guard__is_silent_where_both_are_ours(home, imported):
    done = python("-c", f"import {imported}", path=[home])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("imported", "other"), [("stores", "pipeline"), ("pipeline", "stores")])
def test_guard__names_the_foreign_package_without_importing_it(home, tmp_path, imported, other):
    shadow = foreign(tmp_path / "mine", other)
    done = python("-c", f"import {imported}", path=[shadow, home])
    assert done.returncode == 1
    assert f"`import {other}` finds {shadow / other / '__init__.py'}, which is not neurocube's" in done.stderr
    assert "off PYTHONPATH" in done.stderr
    assert "was imported" not in done.stderr


@pytest.mark.parametrize(("imported", "other"), [("stores", "pipeline"), ("pipeline", "stores")])
def test_guard__names_a_module_of_the_same_name(home, tmp_path, imported, other):
    (tmp_path / f"{other}.py").write_text("x = 1\n")
    done = python("-c", f"import {imported}", path=[tmp_path, home])
    assert f"finds {tmp_path / other}.py, which" in done.stderr


def test_guard__lets_folders_without_init_be(home, tmp_path):
    """Python itself prefers our package to a bare folder of its name."""
    done = python("-c", "import stores", path=[foreign(tmp_path / "mine", "pipeline", init=False), home])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("imported", "other"), [("stores", "pipeline"), ("pipeline", "stores")])
def test_guard__tells_where_ours_was_overwritten(home, imported, other):
    (home / other / "__init__.py").write_text("# of another distribution\n")
    done = python("-c", f"import {imported}", path=[home])
    assert "another distribution has overwritten it" in done.stderr


@pytest.mark.parametrize("other", ["stores", "pipeline"])
def test_command__names_the_foreign_package_in_one_line(home, tmp_path, other):
    command = shutil.copy(home / "pipeline/command.py", tmp_path / "neurocube")
    assert python(command, path=[home]).stdout == "ran\n"
    shadow = foreign(tmp_path / "mine", other)
    done = python(command, path=[shadow, home])
    assert done.returncode == 2
    assert str(shadow / other / "__init__.py") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["stores", "pipeline"])
def test_guard__stands_in_both_packages(package):
    assert "require_own" in (ROOT / package / "__init__.py").read_text()
