"""NumPy's own files, never unpickled: headers first, values block by block."""

import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers.files import readable
from stores.readers.lazy import Region, finite, plausible


@dataclass(frozen=True)
class Header:
    """What an array says of itself: where its values start in the file, and how they lie."""

    shape: tuple[int, ...]
    dtype: str
    fortran: bool
    start: int


def header(path: Path) -> Header:
    """Header of a .npy file, checked against the file's size; pickled objects are refused. InputError."""
    with readable(path, "a .npy file"), path.open("rb") as file:
        found = _header(path, path.name, file)
        size = found.start + prod(found.shape) * np.dtype(found.dtype).itemsize
        if path.stat().st_size != size:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes; its header declares {found.dtype} {found.shape}, which "
                f"needs {size}. Is it whole? Fetch it again."
            )
        return found


def members(path: Path) -> dict[str, Header]:
    """Headers of the arrays of a .npz file by name, each checked against its size. Raises InputError."""
    found = {}
    with readable(path, "a .npz file"), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as file:
                one = _header(path, name, file)
            needed = one.start + prod(one.shape) * np.dtype(one.dtype).itemsize
            if info.file_size != needed:
                raise InputError(
                    f"{path}: {name} has {info.file_size} bytes; its header declares {one.dtype} {one.shape}, "
                    f"which needs {needed}"
                )
            found[name] = one
    return found


def member(path: Path, name: str) -> NDArray[Any]:
    """One array of a .npz file, its checksum verified. Raises InputError."""
    with readable(path, "a .npz file"), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        if file.read(1):  # reading on to the end makes zipfile compare the checksum
            raise InputError(f"{path}: {name} is longer than its header says")
        return _readable(values)


def array(path: Path) -> NDArray[Any]:
    """All of a small .npy file. Raises InputError."""
    found = header(path)
    plausible(path, "its array", found.shape, np.dtype(found.dtype).itemsize, loaded=True)
    with readable(path, "a .npy file"):
        values: NDArray[Any] = np.load(path, allow_pickle=False)
        return _readable(values)


@dataclass(frozen=True)
class Stored:
    """Regions of one array of a .npy file, or of a .npz where `name` says which, as blocks of a cube.

    axes : the file's axis for each axis of the cube, None where the cube's has size 1.
    """

    path: Path
    name: str
    header: Header
    axes: tuple[int | None, ...]
    dtype: str

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there, in the cube's order of axes. Raises InputError."""
        if self.name:
            whole = member(self.path, self.name)
        else:
            with readable(self.path, "a .npy file"):
                whole = np.memmap(
                    self.path,
                    self.header.dtype,
                    "r",
                    self.header.start,
                    self.header.shape,
                    "F" if self.header.fortran else "C",
                )
        wanted = [slice(None)] * len(self.header.shape)
        for axis, region in zip(self.axes, where, strict=True):
            if axis is not None:
                wanted[axis] = region
        order = [axis for axis in self.axes if axis is not None]
        values = np.asarray(whole[tuple(wanted)], dtype=self.dtype).transpose(order)
        values = finite(self.path, self.name or "its array", values)
        return np.ascontiguousarray(
            values[tuple(np.newaxis if axis is None else slice(None) for axis in self.axes)]
        )


def _readable(values: NDArray[Any]) -> NDArray[Any]:
    """`values` unchanged; ValueError where what should be text has no characters of Unicode."""
    if values.dtype.kind == "U" and values.size:
        codes = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))).view(np.uint32)
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise ValueError("its text is not Unicode")
    return values


def _header(path: Path, name: str, file: IO[bytes]) -> Header:
    version = npy.read_magic(file)
    shape, fortran, dtype = (
        npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    )
    if dtype.hasobject:
        raise InputError(
            f"{path}: {name} holds pickled Python objects, which are not read: they can run code. "
            "Only a reader of a dataset that is published so takes allow_pickle=True."
        )
    if dtype.names is not None:
        raise InputError(
            f"{path}: {name} is a table of {', '.join(dtype.names)}; wanted plain numbers or text"
        )
    if any(size < 0 for size in shape):
        raise InputError(f"{path}: {name} declares the shape {shape}")
    plausible(path, name, shape, dtype.itemsize)
    return Header(shape, dtype.str, fortran, file.tell())
