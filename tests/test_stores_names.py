"""Cubes never replace what is not theirs: other cubes above or below a name, and people's own files."""

from pathlib import Path

import pytest
import xarray as xr

import stores
from stores.place import Place

MADE = {"step": "test/1"}


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return tmp_path / "store" if request.param == "folder" else f"memory://names-{tmp_path.name}"


@pytest.fixture
def cube():
    return stores.simulate("fmri", stimuli=4)


def contents(root):
    place = Place.of(root)
    return {name: place.read(name) for name in place.sizes() if not name.endswith("/lock")}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_name_that_is_the_beginning_of_others_is_refused(root, cube, overwrite):
    for name in ("activations/n/a", "activations/n/deep/b"):
        stores.save(root, name, cube, made_from=MADE)
    before = contents(root)
    for name in ("activations/n", "activations"):
        with pytest.raises(stores.SchemaError, match=r"other cubes: activations/n/a, activations/n/deep/b\."):
            stores.save(root, name, cube, made_from=MADE, overwrite=overwrite)
    assert contents(root) == before
    assert stores.verify(root) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_name_inside_of_a_cube_is_refused(root, cube, overwrite):
    stores.save(root, "meg", cube, made_from=MADE)
    before = contents(root)
    for name in ("meg/sub-01", "meg/values/c/0", "meg/deep/er"):
        with pytest.raises(stores.SchemaError, match=f"{name} in .* inside of the cube .*/meg. Take"):
            stores.save(root, name, cube, made_from=MADE, overwrite=overwrite)
    with pytest.raises(stores.SchemaError, match="inside of the cube"):
        stores.save(Place.of(root) / "meg", "deeper", cube, made_from=MADE, overwrite=overwrite)
    assert contents(root) == before


@pytest.mark.parametrize(
    "file", ["notes.txt", "manifest.json", "values/mine.npy", "c/0/0", "x/zarr.json", "movie.partial"]
)
def test_files_of_people_are_refused_by_name(root, cube, file):
    place = Place.of(root) / "mine/conv1"
    place.write(file, b"{}")
    with pytest.raises(
        stores.SchemaError, match=rf"not a cube's.*mine/conv1 would delete: {file}\. Move them"
    ):
        stores.save(root, "mine/conv1", cube, made_from=MADE)
    assert contents(place) == {file: b"{}"}
    assert place.read("lock") is None


def test_overwriting_keeps_files_of_people(root, cube):
    stores.save(root, "meg", cube, made_from=MADE)
    place = Place.of(root) / "meg"
    place.write("figures/one.png", b"png")
    before = contents(root)
    stores.save(root, "meg", cube, made_from=MADE)  # it is there: nothing would be deleted
    with pytest.raises(stores.SchemaError, match=r"would delete: figures/one\.png"):
        stores.save(root, "meg", cube, made_from=MADE, overwrite=True)
    assert contents(root) == before
    place.delete("figures/one.png")
    stores.save(root, "meg", cube * 2, made_from=MADE, overwrite=True)
    xr.testing.assert_equal(stores.open_cube(root, "meg").compute(), cube * 2)


def test_a_zarr_group_that_is_no_cube_is_refused(tmp_path, cube):
    cube.to_dataset(name="values").to_zarr(tmp_path / "mine", zarr_format=3, consolidated=False)
    before = contents(tmp_path)
    with pytest.raises(stores.SchemaError, match=r"would delete: .* and \d+ more\. Move them"):
        stores.save(tmp_path, "mine", cube, made_from=MADE)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", range(1, 20, 3))
def test_a_creation_that_fails_anywhere_is_not_visible_and_made_again(tmp_path, cube, monkeypatch, write):
    original, replaced = Path.replace, []

    def full(self, target):
        replaced.append(target)
        if len(replaced) == write:
            raise OSError(28, "No space left on device")
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        try:
            with stores.writing(tmp_path, "fmri/sub-01", cube, made_from=MADE):
                pass
        except stores.FullError:
            assert list(stores.catalog(tmp_path).index) == []
            with pytest.raises(stores.NotFoundError, match="the store is empty"):
                stores.open_cube(tmp_path, "fmri/sub-01")
    assert len(replaced) >= min(write, 10)
    stores.save(tmp_path, "fmri/sub-01", cube, made_from=MADE)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "fmri/sub-01").compute(), cube)


@pytest.mark.parametrize("removal", range(1, 12, 2))
def test_an_overwriting_that_is_killed_anywhere_goes_on(tmp_path, cube, monkeypatch, removal):
    stores.save(tmp_path, "meg", cube, made_from=MADE)
    original, removed = Path.unlink, []

    class KilledError(Exception):
        pass

    def kill(self, missing_ok=False):
        removed.append(self)
        if len(removed) == removal:
            raise KilledError
        original(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", kill)
        patch.setattr(
            "shutil.rmtree", lambda folder: [one.unlink() for one in folder.rglob("*") if one.is_file()]
        )
        with pytest.raises(KilledError):
            stores.save(tmp_path, "meg", cube * 2, made_from=MADE | {"step": "test/2"}, overwrite=True)
    stores.save(tmp_path, "meg", cube * 2, made_from=MADE | {"step": "test/2"}, overwrite=True)
    xr.testing.assert_equal(stores.open_cube(tmp_path, "meg").compute(), cube * 2)


def test_a_store_or_cube_that_is_not_there_is_told(root, cube, tmp_path):
    for look in (stores.catalog, stores.verify):
        with pytest.raises(stores.NotFoundError, match=r"there is no store .*: nothing is there\. Give"):
            look(root)
    with pytest.raises(stores.NotFoundError, match=r"no cube 'fmri' in .*; it is not there"):
        stores.open_cube(root, "fmri")
    stores.save(root, "fmri/sub-01", cube, made_from=MADE)
    for name in ("fmri/sub-09", "fmri"):
        with pytest.raises(
            stores.NotFoundError, match=f"no cube '{name}' in .*(did you mean|It holds).*fmri/sub-01"
        ):
            stores.verify(root, name)
    for look in (stores.catalog, stores.verify):
        with pytest.raises(stores.NotFoundError, match="sub-01 is a cube, not a store"):
            look(Place.of(root) / "fmri/sub-01")
    (tmp_path / "file").write_text("")
    for look in (stores.catalog, stores.verify):
        with pytest.raises(stores.NotFoundError, match=r"there is no store .*file: it is a file"):
            look(tmp_path / "file")


def test_an_empty_folder_is_an_empty_store(tmp_path):
    assert len(stores.catalog(tmp_path)) == 0
    assert stores.verify(tmp_path) == []


@pytest.mark.parametrize("name", [".hidden", "a/.b", ".verify.json", "日" * 100])
def test_hidden_and_overlong_names_are_refused(tmp_path, cube, name):
    with pytest.raises(stores.InputError, match=r"cannot name a cube: use parts of .* do not start with '.'"):
        stores.save(tmp_path, name, cube, made_from=MADE)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("root", ["memory://", "memory:///"])
def test_the_bare_root_of_a_file_system_is_a_store(tmp_path, monkeypatch, cube, root):
    monkeypatch.chdir(tmp_path)
    stores.save(root, "bare/fmri", cube, made_from=MADE, overwrite=True)
    xr.testing.assert_equal(stores.open_cube("memory://", "bare/fmri").compute(), cube)
    assert "bare/fmri" in stores.catalog(root).index
    assert stores.verify(root, "bare/fmri") == []
    assert list(tmp_path.iterdir()) == []


def test_file_urls_are_folders():
    for before in ("file://", "file:", "file://localhost", "FILE://", ""):
        assert Place.of(f"{before}/some/q/") == Place("/some/q")
    assert Place.of("s3://bucket/q/") == Place("s3://bucket/q")
    with pytest.raises(stores.InputError, match="names another machine"):
        Place.of("file://elsewhere/some/q")


def test_the_home_of_an_unknown_user_is_told():
    with pytest.raises(
        stores.InputError, match="~nobody-of-this-name/x begins with the home folder of a user"
    ):
        Place.of("~nobody-of-this-name/x")
