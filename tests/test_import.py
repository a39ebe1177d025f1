"""What is asked of a reader besides one path: several paths, options, pickles, labels; and what a person sees."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import yaml

import stores
from pipeline.fill import fill
from pipeline.study import Run, StudyError, check, read_study, run_study
from pipeline.study.run import Silent
from stores.errors import InputError
from stores.readers import READERS, request
from tests.layouts import things_behaviour, things_eeg2, things_fmri


@pytest.fixture
def scores(tmp_path):
    """Scores of THINGS images by their paths, with three columns."""
    folder = tmp_path / "lab"
    folder.mkdir()
    rows = [f"images/dog/dog_{n:02d}s.jpg;{n};{n / 8};x{n % 2}" for n in range(1, 7)]
    (folder / "ours.csv").write_text("\n".join(["where;rating;speed;group", *rows, ""]))
    return folder / "ours.csv"


OPTIONS = {"stimulus": "where", "separator": ";", "names": "things"}


def settings(options):
    return [word for key, value in options.items() for word in ("--set", f"{key}={value}")]


def read(name, paths, options=None, **more):
    return request.read(request.request(name, paths, options, **more))


def test_options__reach_the_reader(scores):
    found = read("csv-by-stimulus", [scores], OPTIONS | {"measures": "speed, rating"})["scores"]
    assert list(found.stimulus.values[:2]) == ["dog_01s", "dog_02s"]
    assert list(found.unit.values) == ["speed", "rating"]
    assert list(found.label_group.values[:2]) == ["x1", "x0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stimuls": "where"}, "csv-by-stimulus has no option 'stimuls'; did you mean 'stimulus'"),
        ({"zebra": "1"}, "has no option 'zebra'; it has stimulus, measures, separator, names"),
        ({"names": "thing"}, "option names of csv-by-stimulus is 'thing'; wanted one of plain, things"),
        (
            {"measures": ["a", 1]},
            r"option measures of csv-by-stimulus is \['a', 1\]; wanted texts, separated",
        ),
        ({"measures": "a,,b"}, "wanted texts, separated by commas"),
        ({"stimulus": 3}, "option stimulus of csv-by-stimulus is 3; wanted a text"),
        ({"stimulus": ""}, "option stimulus of csv-by-stimulus is ''; wanted a text"),
        ({"allow_pickle": "true"}, "allow_pickle is no option: give --allow-pickle"),
    ],
)
def test_options__of_another_name_or_kind_are_refused(scores, options, message):
    with pytest.raises(InputError, match=message):
        request.request("csv-by-stimulus", [scores], options)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, {"3": 3, 4: 4}, ("3.5", 3.5, True, "x")),
        (float, {"3": 3.0, 4: 4.0, "1e-3": 0.001}, ("x", True, None)),
        (bool, {"yes": True, "False": False, True: True}, ("1", 0, "x")),
        (Path, {"a/b": Path("a/b")}, (3, "")),
    ],
)
def test_options__become_what_the_signature_says(tmp_path, monkeypatch, kind, good, bad):
    asked = []

    def function(path, *, one: kind | None = None):
        asked.append((path, one))
        return {}

    table = MappingProxyType(READERS | {"mine": replace(READERS["nsd"], name="mine", read=function)})
    monkeypatch.setattr("stores.readers.READERS", table)
    for given, wanted in good.items():
        read("mine", [tmp_path], {"one": given})
        assert asked[-1] == (tmp_path, wanted)
        assert type(asked[-1][1]) is type(wanted)
    for given in bad:
        with pytest.raises(InputError, match="option one of mine is"):
            request.request("mine", [tmp_path], {"one": given})


def test_paths__that_give_other_names_lie_side_by_side(tmp_path):
    things_fmri.write(tmp_path, ("sub-01", "sub-02"))
    files = [tmp_path / f"{subject}_ResponseData.h5" for subject in ("sub-02", "sub-01")]
    found = read("things-fmri", files)
    assert list(found) == [
        f"{subject}/{split}" for subject in ("sub-02", "sub-01") for split in ("train", "test")
    ]


def test_paths__that_give_the_same_names_go_by_their_own(scores, tmp_path):
    other = tmp_path / "theirs.csv"
    other.write_text(scores.read_text().replace(";1;", ";9;"))
    found = read("csv-by-stimulus", [scores, other], OPTIONS)
    assert {name: cube.values[0, 0, 0, 0] for name, cube in found.items()} == {
        "ours/scores": 1,
        "theirs/scores": 9,
    }
    twin = tmp_path / "twin" / "ours.csv"
    twin.parent.mkdir()
    twin.write_bytes(scores.read_bytes())
    with pytest.raises(
        InputError, match="cubes of one name, such as 'scores', and more than one path is called 'ours'"
    ):
        read("csv-by-stimulus", [scores, twin], OPTIONS)


def test_paths__missing_are_told_before_anything_is_read(scores, tmp_path):
    with pytest.raises(InputError, match=r"path .*none does not exist; csv-by-stimulus wants scores\.csv"):
        request.request("csv-by-stimulus", [scores, tmp_path / "none"])
    with pytest.raises(InputError, match="no path was given"):
        request.request("csv-by-stimulus", [])


def test_pickles__are_read_only_where_asked_for_and_only_by_readers_that_must(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sub-01").mkdir()
    folder = things_eeg2.write(tmp_path / "sub-01")
    with pytest.raises(InputError, match=r"is a pickle, which can run code .* --allow-pickle"):
        read("things_eeg2", [folder])
    assert set(read("things_eeg2", [folder], allow_pickle=True)) == {"train", "test"}
    for name in sorted(READERS):
        if not request.takes_pickles(READERS[name]):
            with pytest.raises(
                InputError, match=f"{name} reads no pickles.*--allow-pickle is for .*things_eeg2"
            ):
                request.request(name, [folder], allow_pickle=True)


def test_import__says_what_it_found_and_left_out_and_reuses_it(neurocube, tmp_path, monkeypatch):
    files = things_fmri.write_volumes(tmp_path / "things")
    words, clients = ("import", "things-fmri-volumes", files, "--into", tmp_path / "store/things"), []
    code, out, err = neurocube(*words, "--dry-run")
    assert (code, err) == (0, "")
    assert "sub-01/train  fmri, 32 stimulus x 40 unit, float32, 5 kB" in out
    assert "sub-01/test   fmri, 4 stimulus x 40 unit x 2 repeat, float32, 1 kB" in out
    assert "left out: 4 catch trials" in out
    assert not (tmp_path / "store").exists()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.study.imports.BIG_BYTES", 0)
        patch.setattr(
            "pipeline.study.imports.fill", lambda *a, **k: clients.append(k["client"]) or fill(*a, **k)
        )
        code, out, err = neurocube(*words)
    assert len(clients) == 2
    assert all(clients)
    assert (code, err) == (0, "")
    assert "dashboard: " in out  # big cubes are filled by workers
    assert "left out: 4 catch trials" in out
    assert "there already" not in out
    assert "2 cubes in" in out
    assert stores.open_cube(tmp_path / "store", "things/sub-01/test").attrs["dropped"] == {"catch trials": 4}
    _, out, _ = neurocube(*words)
    assert out.count("(there already)") == 2
    assert "dashboard" not in out
    assert "there already" not in neurocube(*words, "--overwrite")[1]


def test_import__takes_options_paths_and_pickles(neurocube, scores, tmp_path, monkeypatch):
    store = tmp_path / "store"
    words = ("import", "csv-by-stimulus", scores, "--into", store / "lab")
    assert neurocube(*words, *settings(OPTIONS))[0] == 0
    assert list(stores.open_cube(store, "lab/scores").stimulus.values[:1]) == ["dog_01s"]
    code, _, err = neurocube(*words, *settings(OPTIONS | {"units": "points"}))
    assert code == 2
    assert "options.units" in err
    assert '"points"' in err
    code, _, err = neurocube(*words, "--allow-pickle")
    assert code == 2
    assert "csv-by-stimulus reads no pickles" in err
    code, _, err = neurocube(*words, "--set", "stimulus")
    assert code == 2
    assert "--set 'stimulus' is not KEY=VALUE" in err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for subject in ("sub-01", "sub-02"):
        (tmp_path / "eeg" / subject).mkdir(parents=True)
        things_eeg2.write(tmp_path / "eeg" / subject)
    code, out, _ = neurocube(
        *("import", "things_eeg2", *sorted((tmp_path / "eeg").iterdir()), "--allow-pickle"),
        *("--set", f"scratch={tmp_path / 'scratch'}", "--into", store / "eeg2"),
    )
    assert code == 0
    assert "4 cubes in" in out
    assert stores.open_cube(store, "eeg2/sub-02/test").attrs["subject"] == "sub-02"


def test_readers__tells_options_and_pickles(neurocube):
    _, out, _ = neurocube("readers")
    assert "options: stimulus (a text), measures (texts, separated by commas)" in out
    assert out.count("published as pickles: needs --allow-pickle") == sum(
        map(request.takes_pickles, READERS.values())
    )


class Heard(Silent):
    def __init__(self):
        self.texts = []

    def said(self, text):
        self.texts.append(text)


@pytest.fixture
def tree(tmp_path):
    """Volumes of THINGS-fMRI, labelled with memorability and category; the concept `zebra` has no row."""
    behaviour = tmp_path / "behaviour"
    behaviour.mkdir()
    things_behaviour.memorability(behaviour)
    things_behaviour.concepts(behaviour)
    linking = behaviour / "Concept_to_category_linking.csv"
    lines = linking.read_bytes().splitlines(keepends=True)
    linking.write_bytes(b"".join(line for line in lines if not line.startswith(b"zebra")))
    files = things_fmri.write_volumes(tmp_path / "things")
    labels = [
        {"cube": "scores/memorability", "names": ["cr", "things_image_nr_ascii", "things_image_nr_paper"]},
        {"cube": "concepts/concepts", "names": ["category"], "by": "concept"},
    ]
    return {
        "title": "Labels",
        "store": str(tmp_path / "store"),
        "steps": {
            "scores": {"verb": "import", "reader": "things-memorability", "path": str(behaviour)},
            "concepts": {"verb": "import", "reader": "things-concepts", "path": [str(behaviour)]},
            "fmri": {"verb": "import", "reader": "things-fmri-volumes", "path": str(files), "labels": labels},
        },
    }


def written(folder, tree, *settings):
    (folder / "study.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return read_study(folder / "study.yaml", settings)


def test_study__labels_cubes_with_behaviour_by_id(tmp_path, tree):
    study, heard = written(tmp_path, tree), Heard()
    run_study(Run(study, heard))
    cube = stores.open_cube(study.store, "fmri/sub-01/test")
    scores = stores.open_cube(study.store, "scores/memorability").load()
    assert "camera_lens_01s" in stores.open_cube(study.store, "fmri/sub-01/train").stimulus
    for n, stem in enumerate(cube.stimulus.values):
        there = stem in scores.stimulus
        assert there == (stem != "zebra_14s" and stem != "t-shirt_13n")
        assert np.isnan(cube.cr.values[n]) != there
        if there:
            assert cube.cr.values[n] == scores.sel(stimulus=stem).values.item()
    assert dict(zip(cube.stimulus.values, cube.category.values, strict=True)) == {
        "bat1_13s": "tool",
        "coat_rack_13s": "furniture",
        "t-shirt_13n": "clothing",
        "zebra_14s": "NA",
    }
    assert "fmri/sub-01/test: left out: 4 catch trials" in heard.texts
    assert "fmri/sub-01/test: no category for 1 stimuli" in heard.texts
    assert "fmri/sub-01/test: no cr for 2 stimuli" in heard.texts


def test_study__changed_labels_are_refused(tmp_path, tree):
    run_study(Run(written(tmp_path, tree), Silent()))
    run_study(Run(written(tmp_path, tree), Silent()))
    del tree["steps"]["fmri"]["labels"][0]["names"][0]
    with pytest.raises(stores.KeyMismatchError, match="labels"):
        run_study(Run(written(tmp_path, tree), Silent()))


def test_study__labels_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, tree):
    tree["steps"]["fmri"]["labels"][1]["by"] = "stimulus"
    study = written(tmp_path, tree)
    with pytest.raises(
        stores.AlignError, match=r"steps\.fmri\.labels: sub-01/train and concepts/concepts: no stim"
    ):
        run_study(Run(study, Silent()))
    assert not any(name.startswith("fmri") for name in stores.catalog(study.store).index)


def test_study__tells_mistakes_of_an_import_before_it_runs(tmp_path, tree):
    steps = tree["steps"]
    steps["fmri"]["labels"][0]["cube"] = "score/memorability"
    steps["fmri"]["labels"][1]["cube"] = "concepts/*"
    steps["scores"]["options"] = {"nams": "things"}
    steps["concepts"]["allow_pickle"] = True
    with pytest.raises(StudyError) as fault:
        check(written(tmp_path, tree))
    for part in (
        "steps.fmri.labels: no cube is called 'score/memorability'",
        "steps.fmri.labels: 'concepts/*' must name one cube",
        "steps.scores: things-memorability has no option 'nams'; it has none",
        "steps.concepts: things-concepts reads no pickles",
    ):
        assert part in str(fault.value)
    steps["fmri"]["labels"][0]["name"] = ["cr"]
    with pytest.raises(StudyError, match=r"unknown key 'steps\.fmri\.labels\.0\.name'"):
        written(tmp_path, tree)
