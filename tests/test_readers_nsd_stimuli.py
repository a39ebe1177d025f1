from typing import ClassVar

import h5py
import numpy as np
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.errors import InputError
from stores.readers import nsd, nsd_stimuli
from stores.readers.trials import regions, storage
from stores.stimuli import read_images
from tests.layouts import nsd as layout
from tests.test_readers import ReaderTests


class TestNsdStimuli(ReaderTests):
    name = "nsd-stimuli"
    write = staticmethod(layout.write_stimuli)
    cubes: ClassVar[dict[str, str]] = {"images": "images"}


def test_stimuli__are_the_pictures_that_the_betas_name(tmp_path, monkeypatch):
    monkeypatch.setattr("stores.readers.lazy.BLOCK_BYTES", 500)
    cube = nsd_stimuli.read(layout.write_stimuli(tmp_path))["images"]
    assert len(cube.chunks[0]) > 3
    with stores.writing(tmp_path / "store", "images", cube, made_from={"x": 1}, **storage(cube)) as target:
        blocks = [Block({"images": one}) for one in regions(target, cube)]
        fill({"images": target}, blocks, lazy_source(cube, "images"))
    betas = nsd.read(layout.write(tmp_path))["subj01/betas"]
    pictures, brain = stores.align(stores.open_cube(tmp_path / "store", "images"), betas)
    assert (
        list(pictures.nsd_id.values)
        == list(brain.nsd_id.values)
        == sorted(set(layout.shown(count=12).tolist()))
    )
    stored = read_images(tmp_path / "store", "images")
    for nsd_id in (0, 7, 40):
        np.testing.assert_array_equal(stored.decode(nsd_id), layout.pictures()[nsd_id])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((4, 5, 6, 3), "u2"), r"is uint16 \(4, 5, 6, 3\); wanted uint8"),
        (np.zeros((4, 5, 6, 2), "u1"), r"is uint8 \(4, 5, 6, 2\)"),
        (np.zeros((4, 5, 6), "u1"), r"is uint8 of shape"),
    ],
)
def test_stimuli__of_another_kind_are_refused(tmp_path, values, why):
    with h5py.File(tmp_path / "nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = values
    with pytest.raises(InputError, match=r"nsd_stimuli\.hdf5: imgBrick " + why):
        nsd_stimuli.read(tmp_path)
