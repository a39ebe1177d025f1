"""Folders that cannot be used and devices that are full are told in a sentence; what can be read still is."""

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import xarray as xr

import stores

MADE = {"step": "test/1"}


@pytest.fixture
def cube():
    return stores.simulate("fmri", stimuli=4)


@pytest.mark.parametrize("root", ["file", "file/below/it"])
def test_a_root_that_is_or_lies_below_a_file_is_told(tmp_path, cube, root):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        stores.StoreError, match=r"cannot be used: a file lies .* wanted \(.*/file\)\. Take a folder"
    ):
        stores.save(tmp_path / root, "fmri/sub-01", cube, made_from=MADE)
    with pytest.raises(stores.NotFoundError):
        stores.verify(tmp_path / root)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_that_is_a_file_is_told(tmp_path, cube):
    (tmp_path / "fmri").write_text("mine")
    with pytest.raises(stores.StoreError, match=r"a file lies .* wanted \(.*/fmri\)"):
        stores.save(tmp_path, "fmri", cube, made_from=MADE)


def refusing(code, below, original):
    """A function on paths that the system refuses below a folder."""

    def refused(path, *args, **options):
        if str(path).startswith(str(below)):
            raise OSError(code, "no", str(path))
        return original(path, *args, **options)

    return refused


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EROFS, "the file system is read-only"), (errno.EACCES, "permission is denied")],
)
def test_a_folder_that_cannot_be_written_or_read_is_told(tmp_path, cube, monkeypatch, code, words):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refusing(code, tmp_path, Path.mkdir))
        with pytest.raises(stores.StoreError, match=rf"cannot be used: {words} \({tmp_path}"):
            stores.save(tmp_path, "fmri", cube, made_from=MADE)
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refusing(code, tmp_path, None))
        for look in (stores.catalog, stores.verify):
            with pytest.raises(stores.StoreError, match=rf"cannot be used: {words} \({tmp_path}"):
                look(tmp_path)


@pytest.mark.parametrize("limit", [0, 20, 2_000])
def test_a_limit_on_the_size_of_files_is_told(tmp_path, cube, limit):
    program = f"""
        import resource, stores
        cube = stores.simulate("fmri", stimuli=40)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            stores.save({str(tmp_path)!r}, "fmri", cube, made_from={MADE!r})
        except stores.FullError as full:
            print(full)
    """
    found = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert "would be larger than this process, or the file system, allows" in found.stdout
    assert not stores.catalog(tmp_path)["complete"].any()
    stores.save(tmp_path, "fmri", cube, made_from=MADE, overwrite=True)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "fmri").compute(), cube)


@pytest.mark.parametrize("killed_before", [False, True])
def test_a_store_that_cannot_be_written_is_verified(tmp_path, cube, monkeypatch, killed_before):
    stores.save(tmp_path, "fmri", cube, made_from=MADE)
    (shard,) = [one for one in (tmp_path / "fmri/values/c").rglob("*") if one.is_file()]
    if killed_before:
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["stores.verify"]._Journal, "close", lambda journal: journal._save())
            assert stores.verify(tmp_path) == []
    data = shard.read_bytes()
    shard.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(sys.modules["stores.verify"], "SAVE_EVERY_S", 0.0)
    for function in ("unlink", "mkdir", "replace"):
        monkeypatch.setattr(Path, function, refusing(errno.EROFS, tmp_path, None))
    assert [fault.file for fault in stores.verify(tmp_path)] == ["values/c/0/0/0/0"]
    assert sorted(tmp_path.rglob("*")) == before
