"""Betas of a first-level model of SPM: SPM.mat tells which image is which condition in which session."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from stores.dims import REPEAT
from stores.errors import InputError
from stores.readers.cubes import cube_of
from stores.readers.files import field, find, load_mat, text_of
from stores.readers.lazy import lazy
from stores.readers.reader import Reader
from stores.readers.volumes import Images, Volume, masks_in, opened, stem, voxel_labels
from stores.specs import FMRI

MODEL: Final = "SPM.mat"
ROIS: Final = ("rois", "ROIs", "masks")
DTYPE: Final = "float32"
_NAME: Final = re.compile(r"Sn\((?P<run>\d+)\)\s+(?P<condition>.+?)(?P<basis>\*bf\((?P<n>\d+)\))?\s*$")


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`betas`: stimulus = condition, repeat = run, of the folder with SPM.mat and its beta images.

    A condition with several basis functions is `name*bf(2)` from the second on; regressors without one
    (motion, constants) are counted in ``attrs["dropped"]``. A condition that a run lacks is NaN there, and
    so are voxels outside the analysis. Images in a folder rois, ROIs or masks beside become `roi_<name>`.
    Raises InputError.
    """
    path = find(path, MODEL)
    betas, left = _betas(path)
    conditions = sorted({condition for condition, _ in betas})
    runs = sorted({run for _, run in betas})
    volumes = {pair: opened(file) for pair, file in betas.items()}
    first = next(iter(volumes.values()))
    for one in volumes.values():
        if one.shape[:3] != first.shape[:3] or int(np.prod(one.shape[3:])) != 1 or one.affine != first.affine:
            raise InputError(
                f"{one.path} is {one.shape}; {first.path.name} is {first.shape}: wanted one grid, in one place"
            )
    grid: tuple[tuple[Volume | None, ...], ...] = tuple(
        tuple(volumes.get((condition, run)) for run in runs) for condition in conditions
    )
    masks = {}
    for folder in ROIS:
        masks.update(masks_in(path.parent / folder, first))
    units, places = voxel_labels(first, masks)
    cube = cube_of(
        lazy(Images(grid, DTYPE), (len(conditions), len(units), 1, len(runs)), DTYPE, split=0, source=path),
        FMRI,
        stimuli=conditions,
        units=units,
        sources=[path, *(one.path for one in volumes.values())],
        attrs={
            "quantity": "GLM beta",
            "units": "a.u.",
            "dataset": "spm",
            "subject": path.resolve().parent.name,
            "affine": [list(row) for row in first.affine],
        },
        coords={**places, "run": (REPEAT, np.array(runs))},
        dropped={"regressors without a basis function (motion, constants)": left},
    )
    return {"betas": cube}


def parse(description: str) -> tuple[str, int] | None:
    """Condition and run of a beta by SPM's description; None for a nuisance regressor or a constant.

    >>> parse("spm_spm:beta (0003) - Sn(2) face*bf(1)")
    ('face', 2)
    """
    found = _NAME.search(description)
    if not found or not found["basis"]:
        return None
    further = "" if found["n"] == "1" else found["basis"]
    return found["condition"].strip() + further, int(found["run"])


def _betas(path: Path) -> tuple[dict[tuple[str, int], Path], int]:
    """File of each (condition, run), and how many betas are of no condition."""
    model = load_mat(path, ["SPM"])["SPM"]
    records = np.atleast_1d(_one(field(path, model, "Vbeta", "SPM")))
    betas: dict[tuple[str, int], Path] = {}
    left = 0
    for number, record in enumerate(records, 1):
        where = f"SPM.Vbeta({number})"
        text = text_of(path, _one(field(path, record, "descrip", where)), f"{where}.descrip")
        name = text_of(path, _one(field(path, record, "fname", where)), f"{where}.fname")
        if "Sn(" not in text:
            raise InputError(f"{path}: {where}.descrip is {text!r}; wanted text such as 'Sn(1) face*bf(1)'")
        if (pair := parse(text)) is None:
            left += 1
            continue
        if pair in betas:
            raise InputError(f"{path}: {where} is condition {pair[0]!r} of run {pair[1]} for a second time")
        betas[pair] = _image(path, name)
        if not betas[pair].is_file():
            raise InputError(f"{path}: {where}.fname is {name!r}, but {betas[pair]} does not exist")
    if not betas:
        raise InputError(
            f"{path}: SPM.Vbeta has {len(records)} betas, none of a condition such as 'face*bf(1)'"
        )
    return betas, left


def _image(path: Path, name: str) -> Path:
    """The image beside SPM.mat, wherever it lay when the model was estimated; compressed or not."""
    named = path.parent / name.replace("\\", "/").rsplit("/", 1)[-1].split(",")[0]
    packed = named.with_name(stem(named) + ".nii.gz")
    return packed if packed.is_file() and not named.is_file() else named


def _one(value: Any) -> Any:
    """What an object array without axes holds."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.ravel()[0]
    return value


READER: Final = Reader(
    "spm_betas",
    "Betas of an SPM first-level model, condition by run, with masks of regions.",
    (MODEL, "beta_*.nii*"),
    read,
)
