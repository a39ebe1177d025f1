"""The demo keeps to its own folder: it takes nobody's pictures, and replaces nobody's study."""

import pytest
from PIL import Image

import stores
from pipeline import demo


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "demo"


def written(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_demo__is_prepared_again_in_its_folder(folder, monkeypatch):
    file = demo.prepared(folder)
    first = written(folder)
    assert len(first) == 61
    (folder / "report.html").touch()
    monkeypatch.chdir(folder.parent)
    demo.prepared(type(folder)("demo"))  # the same folder in other words
    demo.prepared(folder)
    assert written(folder) == first | {"report.html": b""}
    assert file == folder / "study.yaml"


def test_demo__is_prepared_after_a_kill(folder, monkeypatch):
    whole = Image.Image.save

    def killed(image, path):
        whole(image, path)
        if "03" in path.name:
            path.write_bytes(path.read_bytes()[:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        demo.prepared(folder)
    monkeypatch.undo()
    assert 0 < len(written(folder)) < 60
    demo.prepared(folder)
    assert len(written(folder)) == 61


@pytest.mark.parametrize(
    "name", ["study.yaml", "report.html", "images/face_01.png", "images/me.JPG", "fmri/x"]
)
def test_demo__leaves_a_folder_of_somebody_elses_alone(neurocube, folder, name):
    theirs = folder / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("title: mine\n")
    code, _, err = neurocube("demo", "--folder", folder)
    assert code == 2
    assert f"neurocube: {theirs if name != 'fmri/x' else folder / 'fmri'} was not written by this demo" in err
    assert written(folder) == {theirs.name: b"title: mine\n"}


def test_demo__a_study_of_it_that_was_changed_is_kept(folder):
    file = demo.prepared(folder)
    file.write_text(changed := file.read_text().replace("spearman", "corr"))
    with pytest.raises(stores.StoreError, match=r"study\.yaml was not written by this demo"):
        demo.prepared(folder)
    assert file.read_text() == changed
