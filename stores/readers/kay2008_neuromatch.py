"""The file of Kay et al. (2008) that Neuromatch Academy teaches with: one subject, 8,428 voxels, z-scored.

Its rows of voxels are not those of vim-1 (no "Other", no voxels without data), and it names no images:
a stimulus is its place, `train0001` ..., as in the reader of vim-1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.images import image_cube
from stores.provenance import file_record
from stores.readers.cubes import cube_of, numbered, texts
from stores.readers.files import find
from stores.readers.kay2008 import grey, ids, region_names
from stores.readers.lazy import finite, lazy
from stores.readers.npy import Header, Stored, array, member, members
from stores.readers.reader import Reader
from stores.specs import FMRI

DATASET: Final = "kay2008_neuromatch"
FILE: Final = "kay_images.npz"
LABELS: Final = {"train": "kay_labels.npy", "test": "kay_labels_val.npy"}
LEVELS: Final = ("label_1", "label_2", "label_3", "label_4")
KEYS: Final = ("stimuli", "stimuli_test", "responses", "responses_test", "roi", "roi_names")


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`train` and `test` responses, `images/train` and `images/test`.

    Labels of the pictures, coarse to fine, come along as `label_1` to `label_4` where their two files lie
    beside. Raises InputError.
    """
    path = find(path, FILE)
    headers = members(path)
    if missing := [name for name in KEYS if name not in headers]:
        raise InputError(
            f"{path} has no array {', '.join(missing)}; it has {', '.join(headers) or 'none'}. "
            f"Wanted {', '.join(KEYS)}"
        )
    found = {}
    for split, ending in (("train", ""), ("test", "_test")):
        labels = _labels(path.parent / LABELS[split], headers[f"responses{ending}"].shape[0])
        coords = {"split": texts([split] * headers[f"responses{ending}"].shape[0]), **labels}
        found[split] = _responses(path, f"responses{ending}", headers, split, coords)
        found[f"images/{split}"] = _images(path, f"stimuli{ending}", split, coords)
    if (train := found["train"].sizes[STIMULUS]) != (pictures := found["images/train"].sizes[STIMULUS]):
        raise InputError(f"{path}: responses has {train} rows, stimuli {pictures} pictures; wanted as many")
    return found


def _responses(
    path: Path, name: str, headers: Mapping[str, Header], split: str, coords: Mapping[str, Any]
) -> xr.DataArray:
    shape, dtype = headers[name].shape, np.dtype(headers[name].dtype)
    codes, names = member(path, "roi"), member(path, "roi_names")
    if len(shape) != 2 or dtype.kind != "f" or codes.shape != shape[1:]:
        raise InputError(
            f"{path}: {name} is {dtype} {shape} beside {codes.shape} of roi; wanted (image, voxel)"
        )
    if codes.dtype.kind not in "iu" or names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(
            f"{path}: roi is {codes.dtype}, roi_names {names.dtype}; wanted codes and their names"
        )
    native = dtype.newbyteorder("=").str
    return cube_of(
        lazy(
            Stored(path, name, headers[name], (0, 1, None, None), native), (*shape, 1, 1), native, split=1,
            source=path,
        ),
        FMRI,
        stimuli=ids(split, shape[0]),
        units=numbered("v", shape[1]),
        sources=[path],
        attrs={"quantity": "response amplitude", "units": "z", "dataset": DATASET, "subject": "S1"},
        coords={
            "region": (UNIT, region_names(path, "roi", codes, tuple(names.tolist()))),
            **{label: (STIMULUS, values) for label, values in coords.items()},
        },
    )  # fmt: skip


def _images(path: Path, name: str, split: str, coords: Mapping[str, Any]) -> xr.DataArray:
    pixels = grey(path, name, finite(path, name, member(path, name)))
    if len(pixels) != len(coords["split"]):
        raise InputError(
            f"{path}: {name} has {len(pixels)} pictures, the responses of {split} {len(coords['split'])} rows"
        )
    cube = image_cube(pixels, ids(split, len(pixels)), dataset=DATASET, coords=coords)
    return cube.assign_attrs(sources=[file_record(path)])


def _labels(path: Path, count: int) -> dict[str, NDArray[np.object_]]:
    if not path.is_file():
        return {}
    found = array(path)
    if found.shape != (len(LEVELS), count) or found.dtype.kind != "U":
        raise InputError(
            f"{path} is {found.dtype} {found.shape}; wanted text, {len(LEVELS)} levels x {count} images"
        )
    return {name: texts(row) for name, row in zip(LEVELS, found, strict=True)}


READER: Final = Reader(
    DATASET,
    "Kay et al. (2008) as one .npz for teaching: 8,428 voxels, 1,750 + 120 photographs (Neuromatch).",
    (FILE,),
    read,
)
