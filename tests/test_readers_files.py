"""Where readers look for a file, and in which order."""

import pytest

from stores.errors import InputError
from stores.readers import bold5000, things_eeg2
from stores.readers.files import nearest
from tests.layouts import bold5000 as rois
from tests.layouts import things_eeg2 as eeg


def put(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_nearest__goes_folder_by_folder_then_name_by_name(tmp_path):
    near, above = tmp_path / "a/b", tmp_path / "a"
    (above / "names").mkdir(parents=True)  # a folder of that name is no file
    assert nearest([near, above, tmp_path], "names", "lists/names") is None
    for better in (tmp_path / "names", above / "lists/names", near / "lists/names", near / "names"):
        put(better)
        assert nearest([near, above, tmp_path], "names", "lists/names") == better


def test_eeg2__metadata_are_up_to_three_folders_above(tmp_path):
    folder = tmp_path / "a/b/c/sub-01"
    folder.mkdir(parents=True)
    listing = eeg.write(folder) / "image_metadata.npy"
    (tmp_path / "image_set").mkdir()
    far = listing.rename(tmp_path / "image_set" / listing.name)
    with pytest.raises(
        InputError, match=r"sub-01 and the folders above hold no image_metadata\.npy, nor image_set/"
    ):
        things_eeg2.read(folder)
    (tmp_path / "a/image_set").mkdir()
    far.rename(tmp_path / "a/image_set" / listing.name)
    with pytest.raises(InputError, match=r"a/image_set/image_metadata\.npy is a pickle"):
        things_eeg2.read(folder)


def test_bold5000__lists_are_up_to_three_folders_above(tmp_path):
    root = rois.write(tmp_path / "a")
    lists = (root / "stim_lists").rename(tmp_path / "stim_lists")
    with pytest.raises(InputError, match=r"there is no stim_lists/CSI01_stim_lists\.txt beside it or above"):
        bold5000.read(root)
    lists.rename(tmp_path / "a/stim_lists")
    assert list(bold5000.read(root)) == ["CSI1", "CSI2"]
