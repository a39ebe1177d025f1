import gzip
import shutil
from typing import ClassVar

import nibabel as nib
import numpy as np
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.errors import InputError
from stores.readers import things_fmri, things_fmri_volumes, volumes
from stores.readers.trials import regions, storage
from tests.layouts import things_fmri as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

HERE = "scalematched/sub-01/ses-things01"
RUN = f"{HERE}/sub-01_ses-things01_run-01_betas.nii.gz"
TRIALS = f"{HERE}/sub-01_ses-things01_run-01_conditions.tsv"


class TestThingsFmriVolumes(ReaderTests):
    name = "things-fmri-volumes"
    write = staticmethod(layout.write_volumes)
    cubes: ClassVar[dict[str, str]] = {"sub-01/train": "fmri", "sub-01/test": "fmri"}

    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)


class TestThingsFmriMaps(TestThingsFmriVolumes):
    write = staticmethod(lambda folder: layout.write_maps(layout.write_volumes(folder)))


@pytest.fixture
def raw(tmp_path):
    return layout.write_volumes(tmp_path / "things")


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "things").mkdir()


def shown():
    """(stem, session, run, place in the run), as the files have it."""
    return [
        (name.split("/")[-1].removesuffix(".jpg"), session, run, n)
        for (session, run), names in layout.volume_trials().items()
        for n, name in enumerate(names)
    ]


def test_volumes__keep_every_value_at_its_voxel_and_image(raw):
    for cube in things_fmri_volumes.read(raw).values():
        values = cube.values
        for row, stem in enumerate(cube.stimulus.values):
            where = [one for one in shown() if one[0] == stem]
            assert list(cube.trial_session.values[row]) == [one[1] for one in where]
            assert list(cube.trial_run.values[row]) == [one[2] for one in where]
            for repeat, (_, session, run, n) in enumerate(where):
                want = layout.volume_value(session, run, n)[layout.MASK]
                np.testing.assert_array_equal(values[row, :, 0, repeat], want)


def test_volumes__hold_the_same_images_and_voxels_as_the_tables(raw, tmp_path):
    found = things_fmri_volumes.read(raw)
    (tmp_path / "tables").mkdir()
    for name, table in things_fmri.read(layout.write(tmp_path / "tables")).items():
        stores.align(found[name], table, how="exact")
        for axis in "xyz":
            np.testing.assert_array_equal(found[name][axis], table[axis])
    assert "coat_rack_13s" in found["sub-01/test"].stimulus.values
    assert set(found["sub-01/train"].concept.values) == set(layout.CONCEPTS)
    assert found["sub-01/test"].attrs["dropped"] == {"catch trials": 4}


def test_volumes__without_a_mask_all_voxels_are_units(raw):
    shutil.rmtree(raw / "brainmasks")
    cube = things_fmri_volumes.read(raw)["sub-01/test"]
    assert cube.sizes["unit"] == 80
    np.testing.assert_array_equal(cube.values[0, :, 0, 0] // 1000, np.arange(80))


def test_volumes__carry_the_maps_of_their_voxels(raw):
    layout.write_maps(raw, "sub-02")
    assert "roi_V1" not in things_fmri_volumes.read(raw)["sub-01/test"].coords
    cube = things_fmri_volumes.read(layout.write_maps(raw))["sub-01/test"]
    for n in (1, 12):
        np.testing.assert_allclose(cube[f"nc_n{n:02d}"], layout.map_value("nc")[layout.MASK] + n)
    for kind, name in (("angle", "polarangle"), ("eccen", "eccentricity"), ("sigma", "size")):
        np.testing.assert_allclose(cube[f"prf_{name}"], layout.map_value(kind)[layout.MASK])
    place = np.arange(80).reshape(layout.SHAPE)[layout.MASK]
    np.testing.assert_array_equal(cube["roi_V1"], place % 13 == 1)
    np.testing.assert_array_equal(cube["roi_V3b"], place % 13 == 12)
    np.testing.assert_array_equal(cube["roi_lFFA"], place % 8 == 0)
    assert "roi_rFFA" not in cube.coords
    table = things_fmri.table(layout.write(raw) / "sub-01_ResponseData.h5")["test"]
    assert {name for name in cube.coords if str(name).startswith(("roi_", "prf_"))} <= set(table.coords)
    assert any(one["file"] == "resampled_varea.nii.gz" for one in cube.attrs["sources"])


def test_volumes__refuse_maps_that_do_not_fit(raw):
    layout.write_maps(raw)
    path = raw / "rois/prf/sub-01/resampled_varea.nii.gz"
    for values, affine, why in (
        (layout.areas() + 1, np.eye(4), "holds codes other than 0 to 12"),
        (layout.areas(), np.diag([2, 2, 2, 1]), "lies elsewhere in space"),
        (layout.areas()[:3], np.eye(4), r"has the grid \(3, 4, 4\)"),
    ):
        nib.Nifti1Image(values.astype(np.float32), affine).to_filename(path)
        with pytest.raises(InputError, match=f"resampled_varea.nii.gz {why}"):
            things_fmri_volumes.read(raw)
    layout.write_maps(raw)
    shutil.copytree(raw / "noise_ceilings", raw / "again")
    with pytest.raises(InputError, match=r"nc_n-1\.nii\.gz is nc_n01 for a second time"):
        things_fmri_volumes.read(raw)


def test_volumes__may_be_plain_scaled_and_whole_numbers(raw):
    image = nib.load(raw / RUN)
    for file in raw.glob(f"{HERE}/*run-01_betas*"):
        file.unlink()
    plain = nib.Nifti1Image(np.zeros(image.shape, np.int16), np.eye(4))
    plain.header.set_data_dtype(np.int16)
    plain.to_filename(raw / RUN.removesuffix(".gz"))
    data = np.arange(80 * image.shape[3]).reshape(image.shape, order="F").astype("<i2")
    header = plain.header.copy()
    header.set_slope_inter(0.5, 10)
    header["vox_offset"] = 352
    (raw / RUN.removesuffix(".gz")).write_bytes(header.binaryblock + bytes(4) + data.tobytes(order="F"))
    cube = things_fmri_volumes.read(raw)["sub-01/train"]
    np.testing.assert_allclose(cube.values[1, :, 0, 0], (data[..., 1] * 0.5 + 10)[layout.MASK])


@pytest.mark.parametrize("split", ["train", "test"])
def test_volumes__import_opens_each_run_once(raw, tmp_path, monkeypatch, split):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**9)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**8)
    cube = things_fmri_volumes.read(raw)[f"sub-01/{split}"]
    opened = []
    real = volumes.streamed
    monkeypatch.setattr(volumes, "streamed", lambda path: opened.append(path.name) or real(path))
    root = tmp_path / "store"
    with stores.writing(root, "fmri", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        fill({"fmri": target}, [Block({"fmri": one}) for one in where], lazy_source(cube, "fmri"))
    assert len(where) == (4 if split == "train" else 2)
    assert len(opened) == len(set(opened)) == 4
    np.testing.assert_array_equal(stores.open_cube(root, "fmri").values, cube.values)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image_filename", "picture", "no column 'image_filename'"),
        ("camera_lens_01b.jpg", "camera_lens.jpg", "names no THINGS image"),
        ("\n9\t", "\n", "cells; wanted 2|names"),
        ("catch008.jpg\n", "catch008.jpg\n77\tcatch009.jpg\n", "names 12 trials"),
    ],
)
def test_trials__of_another_content_are_refused(raw, old, new, message):
    text = (raw / TRIALS).read_text().replace("camera_lens_02s", "camera_lens_01b", 0)
    if old.startswith("camera"):
        old = next(line for line in text.split("/") if "camera_lens_" in line).split("\n")[0]
    (raw / TRIALS).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        things_fmri_volumes.read(raw)
    assert "run-01" in str(caught.value)


def test_trials__missing_are_told(raw):
    (raw / TRIALS).unlink()
    with pytest.raises(InputError, match=r"has no sub-01_ses-things01_run-01_conditions.tsv beside it"):
        things_fmri_volumes.read(raw)


def test_values__broken_inside_are_refused_when_read(raw):
    whole = gzip.decompress((raw / RUN).read_bytes())
    packed = bytearray(gzip.compress(whole, 0))
    packed[-200] ^= 1
    (raw / RUN).write_bytes(packed)
    cube = things_fmri_volumes.read(raw)["sub-01/train"]
    with pytest.raises(InputError, match=r"run-01_betas.nii.gz cannot be read .*CRC"):
        cube.compute()


def test_values__infinite_ones_are_refused_when_read(raw):
    image = nib.load(raw / RUN)
    values = np.asarray(image.dataobj).copy()
    values[layout.MASK, 0] = np.inf
    nib.Nifti1Image(values, np.eye(4)).to_filename(raw / RUN)
    with pytest.raises(InputError, match=r"run-01_betas.nii.gz: its values holds 40 infinite"):
        things_fmri_volumes.read(raw)["sub-01/train"].compute()


@pytest.mark.parametrize("file", [RUN, TRIALS, "brainmasks/sub-01_space-T1w_brainmask.nii.gz"])
def test_files__malformed_end_in_an_error_or_a_cube(raw, file):
    blamed = "run-01" if "run" in file else ""
    assert survive(lambda: things_fmri_volumes.read(raw), raw / file, blamed=blamed) >= 7
