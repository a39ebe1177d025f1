"""Session files of NSD: a voxel's or vertex's betas of 750 trials, read for some units at a time.

Volumes are HDF5, int16 (trial, z, y, x), or NIfTI, (x, y, z, trial), both 300 times percent signal change;
surfaces are MGH, (vertex, 1, 1, trial), in percent. In all of them a trial is one stretch, with x fastest. A
compressed NIfTI file can only be read from its beginning: it is unpacked once, for the units asked for alone,
into a scratch file that every block is then read from.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers import volumes
from stores.readers.files import readable
from stores.readers.hdf5 import opened
from stores.readers.lazy import plausible
from stores.readers.slabs import single, stored, stretches
from stores.readers.trials import Indices, Piece
from stores.readers.unpickle import cache

SCALE: Final = 300
NUMBER: Final = re.compile(r".*betas_session(\d\d)\.(hdf5|nii|nii\.gz|mgh)")
MGH: Final = "an MGH file"
_HEADER: Final[Any] = MGHHeader
_FOOTERS: Final = frozenset(range(1, 20)) - {16}
"""Lengths that no footer has: there is none, or 4 numbers (from MATLAB), or 5 and more."""


@dataclass(frozen=True)
class Session:
    """One file: `grid` is (z, y, x), or (vertex,); `offset` is where values start, -1 where they are not flat."""

    path: Path
    number: int
    trials: int
    grid: tuple[int, ...]
    dtype: str
    offset: int
    scale: int


def sessions_in(folder: Path, kinds: Sequence[str], prefix: str = "") -> list[Session]:
    """The sessions of the first of `kinds` (hdf5, nii, nii.gz, mgh) that the folder holds, by number.

    Raises InputError where there are none, where they differ in grid or trials, or two have one number.
    """
    names = [f"{prefix}betas_session*.{kind}" for kind in kinds]
    there = ([one for one in sorted(folder.glob(name)) if NUMBER.fullmatch(one.name)] for name in names)
    files = next(filter(None, there), [])
    if not files:
        raise InputError(
            f"{folder} holds no files {' or '.join(names)}; wanted the folder with a subject's sessions"
        )
    found = sorted((_session(one) for one in files), key=lambda one: one.number)
    first = found[0]
    for one in found[1:]:
        if (one.grid, one.trials) != (first.grid, first.trials):
            raise InputError(
                f"{one.path}: betas has {one.trials} trials of voxels {one.grid}, {first.path.name} "
                f"{first.trials} of {first.grid}"
            )
    numbers = [one.number for one in found]
    if len(set(numbers)) < len(numbers) or numbers[0] < 1:
        raise InputError(f"{folder} holds sessions {numbers}; wanted each once, from 1")
    return found


@dataclass(frozen=True)
class Sessions:
    """Trials of a subject, counted through all sessions, absent ones too.

    inside : for each unit, its place in a trial of the file.
    """

    files: tuple[Session, ...]
    inside: Indices
    scratch: Path | None = None

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:  # noqa: ARG002
        """Yield pieces in percent signal change; a unit that is 0 in all of a session has no data there."""
        each = self.files[0].trials
        wanted = [one for one in self.files if np.any(trials // each == one.number - 1)]
        spilled = _unpacked([one for one in wanted if one.path.suffix == ".gz"], self.inside, self.scratch)
        for one in wanted:
            first, last = np.searchsorted(trials, [(one.number - 1) * each, one.number * each]).tolist()
            rows = trials[first:last] - (one.number - 1) * each
            for where, betas in self._read(one, units, spilled.get(one.path)):
                values = single(one.path, "betas", betas / np.float32(one.scale))
                values[:, (betas == 0).all(axis=0)] = np.nan
                yield slice(first, last), where, slice(0, 1), values[rows][:, :, None]

    def _read(self, one: Session, units: slice, spilled: Path | None) -> Iterator[tuple[slice, NDArray[Any]]]:
        """(units, values (trial, unit)) of all trials of a session."""
        places = self.inside[units]
        if spilled is not None:
            with readable(spilled, "what was unpacked"):
                yield slice(None), np.array(np.load(spilled, mmap_mode="r")[:, units])
        elif one.offset < 0:
            yield from _lines(one, places)
        else:
            with readable(one.path, "betas"):
                shape = (one.trials, prod(one.grid))
                yield slice(None), np.memmap(one.path, one.dtype, "r", one.offset, shape)[:, places]


@dataclass(frozen=True)
class SideBySide:
    """Recordings of the same trials whose units follow each other: the hemispheres."""

    parts: tuple[Sessions, ...]

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        start = 0
        for part in self.parts:
            low, high = max(units.start - start, 0), min(units.stop - start, len(part.inside))
            if low < high:
                for rows, where, moments, values in part(trials, slice(low, high), times):
                    first = (where.start or 0) + start + low - units.start
                    yield rows, slice(first, first + values.shape[1]), moments, values
            start += len(part.inside)


def _session(path: Path) -> Session:
    match = NUMBER.fullmatch(path.name)
    kind, number = (match[2], int(match[1])) if match else ("", 0)
    if kind == "hdf5":
        with opened(path) as file:
            found = stored(path, file, "betas", ndim=4, kinds="i")
            trials, *grid = map(int, found.shape)
            return Session(path, number, trials, tuple(grid), found.dtype.name, -1, SCALE)
    if kind == "mgh":
        return _surface(path, number)
    image = volumes.opened(path, checked=False)
    with readable(path, volumes.WHAT):
        header: Any = nib.load(path)
        data = header.dataobj
        if len(image.shape) != 4 or np.dtype(image.dtype).kind != "i" or (data.slope, data.inter) != (1, 0):
            raise InputError(
                f"{path} is {image.dtype} {image.shape}, scaled by {data.slope}; wanted unscaled whole numbers, "
                "(x, y, z, trial)"
            )
        return Session(
            path, number, image.shape[3], image.shape[2::-1], data.dtype.str, int(data.offset), SCALE
        )


def _surface(path: Path, number: int) -> Session:
    with readable(path, MGH), path.open("rb") as file:
        shape, dtype, offset = mgh_header(path, file, path.stat().st_size)
        if len(shape) != 4 or shape[1:3] != (1, 1) or dtype.kind != "f":
            raise InputError(f"{path} is {dtype} {shape}; wanted real numbers, (vertex, 1, 1, trial)")
        return Session(path, number, shape[3], shape[:1], dtype.str, offset, 1)


def mgh_header(path: Path, file: BinaryIO, size: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and start of the values of an open MGH file of `size` bytes. Raises InputError."""
    header = _HEADER.from_fileobj(file)
    shape, dtype = tuple(map(int, header.get_data_shape())), header.get_data_dtype()
    plausible(path, "its header", shape, dtype.itemsize)
    offset = int(header.get_data_offset())
    after = size - offset - prod(shape) * dtype.itemsize
    if min(shape) < 1 or after < 0 or after in _FOOTERS:
        raise InputError(
            f"{path} holds {size} bytes; its header declares {dtype} {shape}, which needs {size - after}, and a "
            "footer. Is it whole? Fetch it again."
        )
    return shape, dtype, offset


def _lines(one: Session, places: Indices) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Whole lines along x of an HDF5 file, plane by plane, and of those the places."""
    _, height, width = one.grid
    lines = places // width  # through y and z
    with opened(one.path) as file:
        betas = file["betas"]
        size = betas.dtype.itemsize * one.trials * width
        for part in np.split(np.arange(len(lines)), np.flatnonzero(np.diff(lines // height)) + 1):
            for first, last in stretches(lines[part], size):
                here = slice(int(part[first]), int(part[last - 1]) + 1)
                z, low = divmod(int(lines[here.start]), height)
                high = int(lines[here.stop - 1]) % height + 1
                flat = betas[:, z, low:high].reshape(one.trials, -1)
                yield here, flat[:, places[here] - (z * height + low) * width]


def _unpacked(files: Sequence[Session], inside: Indices, scratch: Path | None) -> dict[Path, Path]:
    """Where each file's values (trial, unit) are kept; several processes unpack several files at once."""
    folder = scratch or cache("nsd")
    if files:
        folder.mkdir(parents=True, exist_ok=True)
    targets = {one: folder / f"{_digest(one.path, inside)}.npy" for one in files}
    busy = [one for one, target in targets.items() if not _unpack(one, inside, target, wait=False)]
    for one in busy:
        _unpack(one, inside, targets[one], wait=True)
    return {one.path: target for one, target in targets.items()}


def _unpack(one: Session, inside: Indices, target: Path, *, wait: bool) -> bool:
    """Whether the file is there, now: False where another process makes it and we do not wait."""
    if target.is_file():
        return True
    with target.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        if not target.is_file():
            # Images are read with z fastest, betas with x.
            z, y, x = np.unravel_index(inside, one.grid)
            places = np.ravel_multi_index((x, y, z), one.grid[::-1])
            begun = target.with_suffix(f".{os.getpid()}.part")
            shape = (one.trials, len(places))
            try:
                kept = np.lib.format.open_memmap(begun, "w+", np.dtype(one.dtype).newbyteorder("="), shape)
                for trial, volume in volumes.streamed(one.path):
                    kept[trial] = volume[places]
                kept.flush()
                begun.rename(target)
            finally:
                begun.unlink(missing_ok=True)
    return True


def _digest(path: Path, inside: Indices) -> str:
    there = path.stat()
    made = hashlib.sha256(json.dumps([str(path.resolve()), there.st_size, there.st_mtime_ns]).encode())
    made.update(inside.tobytes())
    return made.hexdigest()
