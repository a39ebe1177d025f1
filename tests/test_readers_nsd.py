import threading
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import nsd_betas, request, volumes
from stores.readers.nsd import read
from stores.readers.trials import regions, storage
from tests.layouts import nsd as layout
from tests.layouts.haxby2001 import save
from tests.malformed import survive
from tests.test_readers import ReaderTests


@pytest.fixture(autouse=True)
def _scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class TestNsd(ReaderTests):
    name = "nsd"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"subj01/betas": "fmri"}


class TestNsdNifti(TestNsd):
    write = staticmethod(layout.write_nifti)


class TestNsdSurface(TestNsd):
    write = staticmethod(layout.write_surface)


class TestNsdTree(TestNsd):
    """All that is published; the reader is given the folder of the betas."""

    write = staticmethod(lambda folder: layout.write_tree(folder) and folder)
    cubes: ClassVar[dict[str, str]] = {"subj01/betas": "fmri", "subj01/responses": "behaviour"}

    def read(self, path):
        folder = path / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf"
        return read(folder if folder.exists() else path)


def betas(path, **options):
    return read(path, **options)["subj01/betas"]


def want(stacked):
    """(stimulus, unit, repeat) from (trial, ...) of both sessions; NaN for a voxel that is 0 in a session."""
    flat = stacked.reshape(12, -1).astype(float)
    for half in (slice(0, 6), slice(6, 12)):
        flat[half][:, (flat[half] == 0).all(axis=0)] = np.nan
    shown = layout.shown(count=12)
    found = np.full((6, flat.shape[1], 3), np.nan)
    for n, image in enumerate(sorted(set(shown.tolist()))):
        for repeat, trial in enumerate(np.flatnonzero(shown == image)):
            found[n, :, repeat] = flat[trial]
    return found


VOLUMES = want(np.concatenate([layout.session(0), layout.session(1)])) / 300
EMPTY = int(np.ravel_multi_index(layout.EMPTY, layout.GRID))


@pytest.mark.parametrize("kind", ["hdf5", "nii", "nii.gz"])
def test_nsd__every_trial_and_voxel_is_at_its_place(tmp_path, kind):
    cube = betas(layout.write(tmp_path, kind))
    assert cube.chunks is not None
    assert dict(cube.sizes) == {STIMULUS: 6, UNIT: 60, TIME: 1, REPEAT: 3}
    assert list(cube.nsd_id.values) == sorted(set(layout.shown(count=12).tolist()))
    assert list(cube.stimulus.values[:2]) == ["nsd00002", "nsd00004"]
    np.testing.assert_allclose(cube.values[:, :, 0, :], VOLUMES, rtol=1e-6)
    voxel = int(np.flatnonzero((cube.x == 2) & (cube.y == 3) & (cube.z == 1))[0])
    assert cube.unit.values[voxel] == "x002_y003_z001"
    assert cube.values[0, voxel, 0, 0] * 300 % 1000 == pytest.approx(132, abs=1e-2)
    assert list(cube.shared1000.values) == [one in (2, 19) for one in cube.nsd_id.values]
    assert list(cube.split.values[:2]) == ["test", "train"]
    np.testing.assert_array_equal(cube.trial_session, np.where(cube.trial < 0, -1, cube.trial // 6 + 1))


def test_nsd__surfaces_hold_both_hemispheres(tmp_path):
    cube = betas(layout.write_surface(tmp_path))
    sides = [np.concatenate([layout.surface(side, n)[:, 0, 0].T for n in range(2)]) for side in ("lh", "rh")]
    np.testing.assert_allclose(cube.values[:, :, 0, :], want(np.concatenate(sides, axis=1)))
    assert list(cube.unit.values[6:8]) == ["lh_000006", "rh_000000"]
    assert list(cube.hemisphere.values) == ["left"] * 7 + ["right"] * 5
    np.testing.assert_array_equal(cube.vertex, [*range(7), *range(5)])
    np.testing.assert_array_equal(cube.roi_streams_ventral, cube.vertex % 3 == 2)
    np.testing.assert_allclose(cube.ncsnr, cube.vertex / 4)
    masked = betas(layout.write_surface(tmp_path), mask="streams")
    assert masked.attrs["dropped"] == {"units outside streams": 5}
    np.testing.assert_array_equal(masked.values, cube.values[:, cube.vertex.values % 3 > 0])


def test_nsd__facts_of_the_published_tree_become_coordinates(tmp_path):
    found = read(layout.write_tree(tmp_path))
    cube, answers = found["subj01/betas"], found["subj01/responses"]
    np.testing.assert_allclose(cube.values[:, :, 0, :], VOLUMES, rtol=1e-6)
    codes = np.where(cube.y == 4, -1, cube.x)
    for code, name in ((1, "V1v"), (2, "V1d")):
        np.testing.assert_array_equal(cube[f"roi_prf-visualrois_{name}"], codes == code)
    np.testing.assert_array_equal(cube["roi_floc-faces_1"], (cube.x == 2) & (codes == 2))
    assert [str(name) for name in cube.coords if str(name).startswith("roi_")] == [
        "roi_floc-faces_1",
        "roi_prf-visualrois_V1v",
        "roi_prf-visualrois_V1d",
    ]
    np.testing.assert_array_equal(cube.hemisphere, np.array(["left", "", "right"])[cube.x])
    np.testing.assert_array_equal(cube.valid_sessions, np.where(np.arange(60) == EMPTY, 1, 2))
    np.testing.assert_allclose(cube.ncsnr, (cube.x + 10 * cube.y + 100 * cube.z) / 100, rtol=1e-6)
    repeats = (cube.trial >= 0).sum(REPEAT)
    assert sorted(repeats.values.tolist()) == [1, 1, 2, 2, 3, 3]
    noise = (2 * 1 + 2 / 2 + 2 / 3) / 6
    np.testing.assert_allclose(cube.noise_ceiling, cube.ncsnr**2 / (cube.ncsnr**2 + noise), rtol=1e-5)
    np.testing.assert_array_equal(cube.coco_id, cube.nsd_id * 7 + 500)
    np.testing.assert_array_equal(cube.crop_loss, cube.nsd_id / 8)
    np.testing.assert_array_equal(cube.flagged, cube.nsd_id % 3 == 0)
    assert cube.crop_box.values[0] == "(0, 0, 0.02, 0.1)"
    assert cube.coco_split.values[0] == "val2017"
    np.testing.assert_array_equal(cube.trial_run, np.where(cube.trial < 0, -1, cube.trial % 6 // 3 + 1))
    assert list(answers.unit.values) == list(layout.ANSWERS)
    stores.align(cube, answers, how="exact")
    for name in layout.ANSWERS:
        wanted = [[layout.answer(t, name) if t >= 0 else np.nan for t in row] for row in cube.trial.values]
        np.testing.assert_array_equal(answers.sel(unit=name).values[:, 0], wanted)


@pytest.mark.parametrize("kept", ["nsd_expdesign.mat", "nsd_stim_info_merged.csv", "responses.tsv"])
def test_nsd__any_of_three_files_tells_the_design(tmp_path, kept):
    folder = layout.write_tree(tmp_path)
    whole = betas(folder)
    for file in [*(tmp_path / "nsddata").rglob("nsd_*"), *(tmp_path / "nsddata").rglob("responses.tsv")]:
        if file.name != kept:
            file.unlink()
    cube = betas(folder)
    np.testing.assert_array_equal(cube.trial, whole.trial)
    assert list(cube.stimulus.values) == list(whole.stimulus.values)
    assert ("split" in cube.coords) == (kept != "responses.tsv")
    next((tmp_path / "nsddata").rglob(kept)).unlink()
    with pytest.raises(
        InputError, match=r"holds no nsd_expdesign\.mat, nsd_stim_info_merged\.csv or responses\.tsv"
    ):
        betas(folder)


def test_nsd__refuses_files_that_tell_different_designs(tmp_path):
    folder = layout.write_tree(tmp_path)
    answers = tmp_path / "nsddata/ppdata/subj01/behav/responses.tsv"
    layout.responses(answers, subject=2)
    with pytest.raises(InputError, match=r"responses\.tsv is of subject 2; the betas are of subject 1"):
        betas(folder)
    table = pd.read_csv(answers, sep="\t").assign(SUBJECT=1)
    table.to_csv(answers, sep="\t", index=False)
    with pytest.raises(
        InputError, match=r"responses\.tsv: trial 1 of subject 1 shows the image 0 .* 7; 11 of 12"
    ):
        betas(folder)
    table[table["SESSION"] < 2].to_csv(answers, sep="\t", index=False)
    with pytest.raises(
        InputError, match=r"responses\.tsv has \{1: 6\} trials by session; wanted 6 in each of 1 to 2"
    ):
        betas(folder)
    answers.unlink()
    layout.design(tmp_path / "nsddata/experiments/nsd/nsd_expdesign.mat", sharedix=[[5]])
    with pytest.raises(InputError, match="shared1000 marks other images than sharedix"):
        betas(folder)


def test_nsd__sessions_that_are_not_there_leave_their_trials_out(tmp_path):
    folder = layout.write_tree(tmp_path)
    whole = betas(folder).load()
    (folder / "betas_session01.hdf5").unlink()
    cube = betas(folder)
    assert set(cube.trial_session.values.ravel().tolist()) <= {-1, 2}
    for row, stimulus in enumerate(cube.stimulus.values):
        there = whole.sel(stimulus=stimulus)
        second = there.values[:, 0, there.trial_session.values == 2]
        np.testing.assert_array_equal(cube.values[row, :, 0, : second.shape[1]], second)
        assert np.isnan(cube.values[row, :, 0, second.shape[1] :]).all()


def test_nsd__a_voxel_without_data_in_a_session_is_nan_there(tmp_path):
    cube = betas(layout.write(tmp_path))
    gone = np.isnan(cube.values[:, EMPTY, 0]) & (cube.trial.values >= 0)
    np.testing.assert_array_equal(gone, cube.trial_session == 2)


@pytest.mark.parametrize("kind", ["hdf5", "nii", "nii.gz"])
def test_nsd__a_mask_leaves_units_out_and_counts_them(tmp_path, kind):
    folder = layout.write(tmp_path, kind)
    whole, cube = betas(folder), betas(folder, mask="prf-visualrois")
    inside = (whole.x.values > 0) & (whole.y.values != 4)
    assert cube.attrs["dropped"] == {"units outside prf-visualrois": int((~inside).sum())}
    assert list(cube.unit.values) == list(whole.unit.values[inside])
    np.testing.assert_array_equal(cube.values, whole.values[:, inside])
    for name in ("x", "y", "z", "roi_prf-visualrois_2"):
        np.testing.assert_array_equal(cube[name], whole[name][inside])
    none = betas(folder, regions=())
    assert not any(str(name).startswith("roi_") for name in none.coords)
    with pytest.raises(
        InputError, match="no image of regions 'prf-visualroi'; did you mean 'prf-visualrois'"
    ):
        betas(folder, mask="prf-visualroi")
    with pytest.raises(InputError, match="no image of regions 'streams'; there are prf-visualrois"):
        betas(folder, regions=["streams"])
    save(folder / "roi" / "nothing.nii.gz", layout.roi() * 0)
    with pytest.raises(InputError, match="no unit lies in nothing"):
        betas(folder, mask="nothing")


@pytest.mark.parametrize("step", [1, 2, 7, 15, 16, 33, 60])
@pytest.mark.parametrize("kind", ["hdf5", "nii.gz"])
def test_nsd__blocks_of_any_size_hold_the_same(tmp_path, step, kind, monkeypatch):
    folder = layout.write(tmp_path, kind)
    monkeypatch.setattr("stores.readers.slabs.PIECE_BYTES", 100)  # not even two lines at once
    kept = np.flatnonzero(np.arange(60) % 5 != 3)
    pieces = nsd_betas.Sessions(tuple(nsd_betas.sessions_in(folder, [kind])), kept, tmp_path)
    trials = np.array([0, 3, 4, 5, 6, 11])
    wanted = np.concatenate([layout.session(0), layout.session(1)]).reshape(12, -1)[trials][:, kept] / 300
    wanted[4:, kept == EMPTY] = np.nan
    for start in range(0, len(kept), step):
        units = slice(start, min(len(kept), start + step))
        got = np.full((len(trials), units.stop - units.start), -1.0)
        for rows, where, _, values in pieces(trials, units, slice(0, 1)):
            got[rows, where] = values[:, :, 0]
        np.testing.assert_allclose(got, wanted[:, units], rtol=1e-6)


def test_nsd__compressed_sessions_are_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**9)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**8)
    cube = betas(layout.write_nifti(tmp_path), scratch=tmp_path / "scratch")
    opened, real = [], volumes.streamed
    monkeypatch.setattr(volumes, "streamed", lambda path: opened.append(path.name) or real(path))
    root = tmp_path / "store"
    with stores.writing(root, "nsd", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        work = [Block({"nsd": one}) for one in where]
        fill({"nsd": target}, work, lazy_source(cube, "nsd"))
    assert len(where) >= 3
    assert sorted(opened) == ["betas_session01.nii.gz", "betas_session02.nii.gz"]
    np.testing.assert_allclose(stores.open_cube(root, "nsd").values[:, :, 0, :], VOLUMES, rtol=1e-6)
    assert len(list((tmp_path / "scratch").glob("*.npy"))) == 2


def test_nsd__workers_share_what_is_unpacked(tmp_path, monkeypatch):
    folder, opened, real = layout.write_nifti(tmp_path), [], volumes.streamed
    monkeypatch.setattr(volumes, "streamed", lambda path: opened.append(path.name) or real(path))
    pieces = nsd_betas.Sessions(tuple(nsd_betas.sessions_in(folder, ["nii.gz"])), np.arange(60), tmp_path)
    found = []

    def work():
        found.append(
            sum(float(np.nansum(one[3])) for one in pieces(np.arange(12), slice(0, 60), slice(0, 1)))
        )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(opened) == 2
    assert len(set(found)) == 1
    assert len(found) == 4


@pytest.mark.parametrize(
    ("design", "why"),
    [
        ({"masterordering": layout.ORDER[:11]}, "masterordering has 11 trials"),
        ({"masterordering": layout.ORDER - 1}, "masterordering is float64"),
        ({"masterordering": layout.ORDER + 5}, "masterordering has 14 trials"),
        ({"masterordering": layout.ORDER * np.nan}, "masterordering is float64"),
        ({"subjectim": layout.SUBJECTIM[:, :3]}, r"subjectim \(2, 3\)"),
    ],
)
def test_nsd__refuses_a_design_that_does_not_fit(tmp_path, design, why):
    with pytest.raises(InputError, match=r"nsd_expdesign\.mat.*" + why):
        read(layout.write(tmp_path, **design))


def test_nsd__refuses_sessions_and_regions_that_do_not_fit(tmp_path):
    folder = layout.write(tmp_path)
    with pytest.raises(InputError, match="of subject 3"):
        read(folder, subject=3)
    save(folder / "roi" / "other.nii.gz", np.ones(layout.GRID, np.int16))
    with pytest.raises(InputError, match=r"other\.nii\.gz has the grid \(4, 5, 3\)"):
        read(folder)
    for values, why in (
        (np.zeros((6, 4, 5, 2), "i2"), "has 6 trials of voxels"),
        (np.zeros((5, 4, 5, 3), "i2"), "has 5 trials of voxels"),
        (np.zeros((6, 4, 5, 3)), "is float64"),
    ):
        with h5py.File(folder / "betas_session02.hdf5", "w") as file:
            file["betas"] = values
        with pytest.raises(InputError, match=r"betas_session02\.hdf5: betas " + why):
            read(folder)


def test_nsd__refuses_hemispheres_and_tables_that_do_not_fit(tmp_path):
    folder = layout.write_surface(tmp_path)
    (folder / "rh.betas_session02.mgh").rename(folder / "rh.betas_session03.mgh")
    with pytest.raises(InputError, match=r"sessions \(number, trials\) \[\(1, 6\), \(2, 6\)\] of lh"):
        read(folder)
    (folder / "rh.betas_session03.mgh").rename(folder / "rh.betas_session02.mgh")
    (folder / "roi" / "rh.streams.mgz").unlink()
    with pytest.raises(InputError, match=r"rh\.streams\.mgz does not exist"):
        read(folder)
    layout.mgh(folder / "roi" / "rh.streams.mgz", np.zeros(6))
    with pytest.raises(
        InputError, match=r"rh\.streams\.mgz has \(6, 1, 1\) values; the betas have 5 vertices"
    ):
        read(folder)
    layout.mgh(folder / "roi" / "rh.streams.mgz", np.arange(5) % 3)
    (folder / "roi" / "streams.mgz.ctab").write_text("0 Unknown\n1 early\n2 early\n")
    with pytest.raises(InputError, match="two codes of streams are named 'early'"):
        read(folder)


def test_nsd__compressed_betas_broken_inside_are_refused_when_read(tmp_path):
    folder = layout.write_nifti(tmp_path)
    path = folder / "betas_session02.nii.gz"
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 4
    path.write_bytes(broken)
    cube = betas(folder)
    with pytest.raises(InputError, match=r"betas_session02\.nii\.gz cannot be read"):
        cube.compute()
    left = [one.suffix for one in (tmp_path / "cache").rglob("*") if one.is_file()]
    assert sorted(left) == [".lock", ".lock", ".npy"]  # the session that is whole


@pytest.mark.parametrize(
    "file",
    [
        "nsddata/experiments/nsd/nsd_stim_info_merged.csv",
        "nsddata/ppdata/subj01/behav/responses.tsv",
        "nsddata/freesurfer/subj01/label/prf-visualrois.mgz.ctab",
        "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf/ncsnr.nii.gz",
    ],
)
def test_files__malformed_end_in_an_error_or_a_cube(tmp_path, file):
    folder = layout.write_tree(tmp_path)
    assert survive(lambda: read(folder), tmp_path / file) >= 7


@pytest.mark.parametrize("file", ["lh.betas_session01.mgh", "lh.ncsnr.mgh", "roi/rh.streams.mgz"])
def test_surfaces__malformed_end_in_an_error_or_a_cube(tmp_path, file):
    """Without a checksum, a flipped bit in a value is another value."""
    folder = layout.write_surface(tmp_path)
    assert survive(lambda: read(folder), folder / file) >= 5


def test_nsd__subjects_are_imported_together(tmp_path):
    folders = [layout.write_tree(tmp_path, subject) for subject in (1, 2)]
    found = request.read(request.request("nsd", folders, {"mask": "prf-visualrois", "regions": "floc-faces"}))
    assert list(found) == [f"subj{n:02d}/{name}" for n in (1, 2) for name in ("betas", "responses")]
