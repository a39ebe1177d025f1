"""The command as a person meets it: words, exit codes, errors in one paragraph."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

import stores
from pipeline import cli, command, faults
from tests.shared import shared

EXAMPLES = Path(__file__).parent.parent / "examples" / "studies"


@pytest.fixture
def root(tmp_path):
    store = tmp_path / "store"
    stores.save(store, "fmri/sub-01", stores.simulate("fmri", stimuli=5), made_from={"step": "test/1"})
    return store


def test_version(neurocube):
    assert neurocube("--version") == (0, "neurocube 0.1.0\n", "")


def test_catalog_and_show(neurocube, root):
    code, out, _ = neurocube("catalog", root)
    assert code == 0
    assert "fmri/sub-01" in out
    assert "1 cubes" in out
    code, out, _ = neurocube("show", root, "fmri/sub-01")
    assert code == 0
    assert "percent signal change" in out


def test_mistakes_are_one_paragraph_and_exit_2(neurocube, root, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("{title: t, store: 'memory://a', steps: {report: {verb: report}}}")
    for words, said in (
        (("show", root, "fmri/sub-1"), "did you mean 'fmri/sub-01'?"),
        (("show", root, "fmri/sub-01", "--csv"), "a table is made of results"),
        (("catalog", tmp_path / "none"), "there is no store"),
        (("layers", "squeezenet1_0-cafe"), "squeezenet1_0-caffe"),
        (("run", tmp_path / "none.yaml"), "there is no study file"),
        (("import", "kriegeskorte2008", tmp_path, "--into", "memory://a/x"), "worker processes cannot see"),
        (("demo", "--folder", study), "is a file"),
        (("run", study), "worker processes cannot see"),
    ):
        code, out, err = neurocube(*words)
        assert (code, out) == (2, "")
        assert err.startswith("neurocube: ")
        assert said in err
        assert "Traceback" not in err


def test_debug_shows_the_traceback_and_exits_2(neurocube, root):
    code, out, err = neurocube("show", root, "none", "--debug")
    assert (code, out) == (2, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("neurocube: there is no cube 'none'")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("more", [(), ("--csv",)])
def test_damaged_data_are_one_paragraph(neurocube, tmp_path, more):
    from tests import report_results

    stores.save(tmp_path, "rsa/it", report_results.rsa(), made_from={"step": "test/1"})
    flip(next(path for path in (tmp_path / "rsa/it/values/c").rglob("*") if path.is_file()))
    code, out, err = neurocube("show", tmp_path, "rsa/it", *more)
    assert (code, out) == (2, "")
    assert "damaged" in err
    assert "neurocube verify" in err
    assert len(err.splitlines()) == 1


def test_faults__of_stored_bytes_read_by_bare_zarr_are_one_paragraph(root):
    flip(next(path for path in (root / "fmri/sub-01/values/c").rglob("*") if path.is_file()))
    with pytest.raises(ValueError, match="checksum") as caught:
        xr.open_zarr(root / "fmri/sub-01")["values"].load()
    assert "data of the store are damaged" in faults.paragraph(caught.value)


def decode(data):
    raise ValueError(f"cannot decode {data}")


def test_faults__of_the_program_are_no_paragraph():
    with pytest.raises(ValueError, match="cannot decode") as caught:
        decode(b"")
    assert faults.paragraph(caught.value) == ""


def test_interrupt__is_one_line_and_exit_130(neurocube, root, monkeypatch):
    def interrupted(root):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "catalog", interrupted)
    said = "neurocube: interrupted; run the same command again to go on\n"
    assert neurocube("catalog", root) == (130, "", said)


@pytest.mark.parametrize("fault", [PermissionError(13, "Permission denied", "s/x"), TimeoutError("too late")])
def test_system_errors_are_one_paragraph(neurocube, root, monkeypatch, fault):
    def refused(root):
        raise fault

    monkeypatch.setattr(cli, "catalog", refused)
    code, _, err = neurocube("catalog", root)
    assert code == 2
    assert str(fault) in err
    assert len(err.splitlines()) == 1


def test_verify__names_damage_and_exits_1(neurocube, root):
    assert neurocube("verify", root)[:2] == (0, "1 cubes are sound\n")
    (shard,) = [path for path in (root / "fmri/sub-01/values/c").rglob("*") if path.is_file()]
    shard.write_bytes(shard.read_bytes()[:-1])
    code, out, _ = neurocube("verify", root)
    assert code == 1
    assert "fmri/sub-01: values/c/0/0/0/0 has" in out
    assert "1 faults" in out


def test_layers__lists_the_taps(neurocube):
    code, out, _ = neurocube("layers", "squeezenet1_0-caffe")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["layer", "type", "shape", "units"]
    assert [lines[1][0], lines[1][2]] == ["conv1", "96"]
    assert [line[0] for line in lines[-2:]] == ["logits", "output"]


def test_run__dry_run_of_the_example_prints_the_plan_and_makes_nothing(neurocube, tmp_path):
    places = {"data": shared("data/rsa92-kriegeskorte2008").parent, "store": tmp_path / "new"}
    settings = [word for name, place in places.items() for word in ("--set", f"{name}={place}")]
    code, out, err = neurocube("run", EXAMPLES / "kriegeskorte92.yaml", *settings, "--dry-run")
    assert (code, err) == (0, "")
    assert "objects92 (import): 3 cubes, 0 there already" in out
    assert "92 stimuli in" in out
    assert "20 candidates against objects92/human-it" in out
    assert not (tmp_path / "new").exists()


def test_readers_and_import(neurocube, tmp_path):
    code, out, _ = neurocube("readers")
    assert code == 0
    assert "92_brainRDMs.mat" in out
    path = shared("data/rsa92-kriegeskorte2008")
    code, out, err = neurocube("import", "kriegeskorte2008", path, "--into", tmp_path / "store/objects92")
    assert (code, err) == (0, "")
    assert "3 cubes in" in out
    names = list(stores.catalog(tmp_path / "store").index)
    assert names == [f"objects92/{name}" for name in ("human-it", "images", "monkey-it")]
    assert neurocube("import", "kriegeskorte208", path, "--into", tmp_path / "s/x")[0] == 2
    assert neurocube("import", "kriegeskorte2008", path, "--into", "x")[0] == 2
    assert not (tmp_path / "s").exists()


def test_show_csv__is_a_tidy_table(neurocube, tmp_path):
    from tests import report_results

    stores.save(tmp_path, "rsa/it", report_results.rsa(), made_from={"step": "test/1"})
    code, out, _ = neurocube("show", tmp_path, "rsa/it", "--csv")
    assert code == 0
    table = pd.read_csv(io.StringIO(out))
    assert list(table.columns[:3]) == ["network", "layer", "score"]
    assert {"ceiling_lower", "ceiling_upper"} <= set(table.columns)


def test_command_is_installed():
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pipeline.cli, sys; sys.argv = ['x', '--version']; pipeline.cli.main()",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "neurocube 0.1.0\n"


def test_command__an_interrupt_while_it_imports_is_one_line(tmp_path):
    for package in ("stores", "pipeline"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("# require_own\n")
    (tmp_path / "pipeline/cli.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, shutil.copy(command.__file__, tmp_path / "neurocube")],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr == "neurocube: interrupted; run the same command again to go on\n"
