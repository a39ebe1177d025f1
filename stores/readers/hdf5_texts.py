"""Texts and numbers of MATLAB 7.3 files, through h5py: structs of cells and struct arrays read alike."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers.hdf5 import dataset, loaded


def texts_of(path: Path, file: h5py.File, name: str) -> list[str]:
    """The char elements of a cell, or of a field of a struct array. Raises InputError."""
    refs = dataset(path, file, name, ndim=2, kinds="O")
    if refs.dtype != h5py.ref_dtype or 1 not in refs.shape:
        raise InputError(f"{path}: {name} is {refs.dtype} {refs.shape}; wanted one text for each image")
    return [char(path, name, file[ref]) for ref in refs[()].ravel()]


def char(path: Path, name: str, found: Any) -> str:
    """One char row as str."""
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path}: {name} holds something other than text")
    if found.dtype != np.uint16:  # attributes are slow to read, and an empty text has another type
        if found.attrs.get("MATLAB_empty", 0):
            return ""
        raise InputError(f"{path}: {name} holds something other than text")
    try:
        return str(found[()].astype("<u2").tobytes().decode("utf-16-le"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {name} holds text that cannot be decoded ({error})") from error


def vector(path: Path, file: h5py.File, name: str) -> NDArray[Any]:
    """A numeric row or column. Raises InputError."""
    found = loaded(path, file, name, ndim=2)
    if 1 not in found.shape:
        raise InputError(f"{path}: {name} has shape {found.shape[::-1]}; wanted a row or a column")
    return found.ravel()
