import shutil
from typing import ClassVar

import numpy as np
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers import bids_betas
from stores.readers.trials import regions, storage
from tests.layouts import bids_betas as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

RUN1 = f"{layout.stem(0)}_space-T1w_betas.nii.gz"
TABLE = f"{layout.stem(0)}_events.tsv"


class TestBidsBetas(ReaderTests):
    name = "bids-betas"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"sub-01": "fmri"}

    def files(self, raw):
        """Masks of another space or of one run are not opened."""
        unread = ("._", "space-MNI", "label-V2")
        return [one for one in super().files(raw) if not any(part in one.name for part in unread)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return layout.write(tmp_path_factory.mktemp("betas"))


@pytest.fixture
def folder(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "betas")


def inside():
    return np.flatnonzero(layout.brain())


def check(cube, stimuli, voxels):
    assert list(cube[STIMULUS].values) == list(stimuli)
    values = cube.values
    for row, trials in enumerate(stimuli.values()):
        for repeat in range(values.shape[3]):
            if repeat < len(trials):
                np.testing.assert_array_equal(
                    values[row, :, 0, repeat], layout.image(trials[repeat]).ravel()[voxels]
                )
            else:
                assert np.isnan(values[row, :, 0, repeat]).all()


def test_betas__keep_every_value_at_its_stimulus_voxel_and_repeat(raw):
    check(bids_betas.read(raw)["sub-01"], layout.STIMULI, inside())


def test_betas__lie_in_space_by_the_affine(raw):
    cube = bids_betas.read(raw)["sub-01"]
    one = cube.sel({UNIT: "x002_y001_z004"})
    assert [int(one[axis]) for axis in "ijk"] == [2, 1, 4]
    np.testing.assert_allclose([float(one[axis]) for axis in "xyz"], [10 - 2, -20 + 6, 5 + 10])
    assert int(one.values[0, 0, 0]) == 5214
    np.testing.assert_allclose(cube.attrs["affine"], layout.AFFINE)
    for name, mask in zip(("roi_V1", "roi_L_FFA"), layout.regions().values(), strict=True):
        np.testing.assert_array_equal(cube[name], mask.ravel()[inside()] > 0)
    assert [one for one in cube.coords if one.startswith("roi")] == ["roi_L_FFA", "roi_V1"]


def test_betas__carry_what_is_known_of_their_trials(raw):
    cube = bids_betas.read(raw)["sub-01"]
    assert cube.attrs["dataset"] == "faces"
    assert cube.attrs["entities"] == {"sub": "01", "task": "faces", "space": "T1w"}
    assert cube.attrs["dropped"] == {
        "events without a stimulus": 2,
        "voxels outside the brain": layout.brain().size - len(inside()),
        "regions of single runs": 1,
    }
    assert cube.trial_run.values.tolist() == [
        [10, -1, -1],
        [2, 2, 10],
        [1, -1, -1],
        [10, 1, -1],
        [2, 1, -1],
        [1, -1, -1],
    ]
    assert cube.trial_ses.values.tolist()[1] == [1, 1, 1]
    assert cube.trial_trial_type.values.tolist()[1] == ["IniFF", "ImmFF", "DelFF"]
    assert cube.trial_trigger.values.tolist()[3] == [5, 6, -1]
    np.testing.assert_array_equal(cube.trial_response_time.values[1], [0.5, 2.5, 6.5])
    assert {one["file"] for one in cube.attrs["sources"]} >= {
        RUN1,
        TABLE,
        "sub-01_space-T1w_label-V1_mask.nii.gz",
    }


def test_betas__by_another_column(raw):
    cube = bids_betas.read(raw, stimulus="trial_type")["sub-01"]
    assert list(cube[STIMULUS].values) == ["DelFF", "ImmFF", "ImmUF", "IniFF", "IniSF", "IniUF", "btn"]
    np.testing.assert_array_equal(cube.values[3, :, 0, 2], layout.image(11).ravel()[inside()])
    with pytest.raises(InputError, match=r"_events\.tsv has no column 'picture'"):
        bids_betas.read(raw, stimulus="picture")


def test_betas__of_conditions(tmp_path):
    cube = bids_betas.read(layout.write_conditions(tmp_path))["sub-02"]
    check(cube, {"face": [0, 2], "house": [1]}, np.arange(60))
    assert cube.trial_run.values.tolist() == [[2, 10], [2, -1]]
    assert len(cube.attrs["sources"]) == 3  # another statistic is no beta


def test_betas__of_one_type_or_trial_an_image(tmp_path):
    """NiBetaSeries has an image for each trial_type, and some have one for each trial."""
    layout.write_tables(tmp_path)
    rows = layout.SHOWN[2]
    for kind in {kind for kind, _ in rows[:3]}:
        own = [layout.image(n) for n, one in enumerate(rows) if one[0] == kind]
        name = f"{layout.stem(2)}_desc-{kind}_betaseries.nii.gz"
        layout.save(tmp_path / name, np.stack(own, axis=-1).astype(np.float32))
    for n in (3, 4):
        layout.save(tmp_path / f"{layout.stem(2)}_trial-{n + 1}_beta.nii", layout.image(n).astype(np.float32))
    cube = bids_betas.read(tmp_path)["sub-01"]
    in_order = {"meg/u001": [0], "func/s001": [1], "func/u001": [3], "func/f003": [4]}
    check(cube, in_order, np.arange(60))
    layout.save(tmp_path / f"{layout.stem(2)}_trial-6_beta.nii", layout.image(0).astype(np.float32))
    with pytest.raises(InputError, match=r"_trial-6_beta\.nii is of trial 6; .*events\.tsv has 5 rows"):
        bids_betas.read(tmp_path)


def test_betas__of_two_spaces_are_two_cubes(folder):
    for n, (session, _) in enumerate(layout.RUNS):
        trials = np.ones((2, 2, 2, len(layout.SHOWN[n])), np.float32) * n
        name = f"{layout.stem(n)}_space-MNI_betas.nii.gz"
        layout.save(folder / layout.GLM / f"ses-{session}" / "func" / name, trials)
    found = bids_betas.read(folder)
    assert {name: cube.sizes[UNIT] for name, cube in found.items()} == {
        "sub-01/task-faces_space-MNI": 8,
        "sub-01/task-faces_space-T1w": len(inside()),
    }
    assert "roi_V1" in found["sub-01/task-faces_space-MNI"].coords


def test_betas__a_picture_of_one_name_in_two_folders_is_two_stimuli(raw):
    assert {"meg/u001", "func/u001"} < set(bids_betas.read(raw)["sub-01"][STIMULUS].values)


def test_betas__import_is_the_same(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(bids_betas, "BLOCK_BYTES", 500)
    cube = bids_betas.read(raw)["sub-01"]
    assert len(cube.chunks[0]) > 1
    assert cube.chunks[3] == (1, 1, 1)
    with stores.writing(tmp_path, "betas", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        fill({"betas": target}, [Block({"betas": one}) for one in where], lazy_source(cube, "betas"))
    check(stores.open_cube(tmp_path, "betas"), layout.STIMULI, inside())


def test_betas__shown_once_are_read_run_by_run(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHOWN", [[("a", f"func/{n}{row}") for row in range(3)] for n in "zyx"])
    cube = bids_betas.read(layout.write(tmp_path))["sub-01"]
    assert cube.chunks[0] == (3, 3, 3)
    check(cube, {f"func/{n}{row}": [3 * k + row] for k, n in enumerate("zyx") for row in range(3)}, inside())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: "".join(t.splitlines(True)[:-1]),
            rf"{RUN1} has 4 volumes; .*{TABLE} has 3 rows: wanted as many",
        ),
        (
            lambda t: t.replace("func/", "x/").replace("x/f002.bmp", "x/f002.png", 1),
            rf"{TABLE}: stim_file has 'x/f002\.bmp'",
        ),
        (lambda t: t.replace("onset", "start"), rf"{TABLE} has no column 'onset'"),
    ],
)
def test_betas__refuse_tables_that_do_not_fit(folder, change, message):
    file = folder / layout.BIDS / "ses-1" / "func" / TABLE
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError, match=message):
        bids_betas.read(folder)


def test_betas__refuse_two_tables_or_none(folder):
    file = folder / layout.BIDS / "ses-1" / "func" / TABLE
    shutil.copy(file, folder / TABLE)
    with pytest.raises(InputError, match=rf"{RUN1} has two tables of events: .*{TABLE} and .*{TABLE}"):
        bids_betas.read(folder)
    (folder / TABLE).unlink()
    file.unlink()
    with pytest.raises(InputError, match=rf"{RUN1} has no table \*_events\.tsv with its sub"):
        bids_betas.read(folder)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (RUN1, np.ones((3, 4, 6, 4)), r"another grid"),
        (RUN1, np.ones(layout.SHAPE), r"{RUN1} is one volume; wanted a name that tells its trial"),
        ("sub-01_space-T1w_label-V1_mask.nii.gz", np.ones((3, 4, 6)), r"label-V1_mask\.nii\.gz has the grid"),
        (
            "sub-01_space-T1w_desc-brain_mask.nii.gz",
            np.zeros(layout.SHAPE),
            r"brain_mask\.nii\.gz: no voxel is inside",
        ),
    ],
)
def test_betas__refuse_images_that_do_not_fit(folder, file, values, message):
    (found,) = folder.rglob(file)
    layout.save(found, values.astype(np.float32))
    with pytest.raises(InputError, match=message.replace("{RUN1}", RUN1)):
        bids_betas.read(folder)


def test_betas__refuse_an_image_that_lies_elsewhere(folder):
    (found,) = folder.rglob(RUN1)
    layout.save(found, np.ones((*layout.SHAPE, 4), np.float32), np.eye(4))
    with pytest.raises(InputError, match="lies elsewhere"):
        bids_betas.read(folder)


@pytest.mark.parametrize("file", [RUN1, f"{layout.stem(1)}_space-T1w_betas.nii"])
def test_betas__an_infinite_value_is_refused_when_it_is_read(folder, file):
    (found,) = folder.rglob(file)
    n = 0 if file == RUN1 else 1
    values = np.ones((*layout.SHAPE, len(layout.SHOWN[n])), np.float32)
    values[2, 2, 2, 0] = np.inf
    layout.save(found, values)
    with pytest.raises(InputError, match=rf"{file}: its values holds 1 infinite"):
        bids_betas.read(folder)["sub-01"].compute()


@pytest.mark.parametrize("file", [RUN1, f"{layout.stem(1)}_space-T1w_betas.nii", TABLE])
def test_betas__malformed_ends_in_an_error_or_a_cube(folder, file):
    (found,) = folder.rglob(file)
    assert survive(lambda: bids_betas.read(folder), found, count=50, blamed=file.split("_space")[0]) >= 10
