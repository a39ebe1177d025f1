"""Source estimates that MNE saved, `x-lh.stc` with `x-rh.stc` or `x-vl.stc`: each is the answer to one stimulus.

The stimulus is the file's name. Estimates of the same vertices and times are one cube. The files do not tell what
their values are (current, dSPM, ...), nor whose, so the units are "a.u.". A file is

    tmin (ms), tstep (ms), number of vertices, vertices, number of times, values (time, vertex)

in 4-byte big-endian floats and whole numbers, and nothing more. The form in HDF5, `x-stc.h5`, is not read.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of
from stores.readers.files import readable
from stores.readers.lazy import BLOCK_BYTES, Region, from_blocks, plausible
from stores.readers.mne_files import DATASET, files_like
from stores.readers.reader import Reader
from stores.readers.slabs import single
from stores.specs import SOURCES

PATTERNS: Final = ("*-lh.stc", "*-rh.stc", "*-vl.stc", "*-vol.stc")
PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "lh": ("left", "left hemisphere"),
    "rh": ("right", "right hemisphere"),
    "vl": ("unknown", "volume"),
    "vol": ("unknown", "volume"),
}
WHAT: Final = "a source estimate"
_HEAD: Final = struct.Struct(">ffI")


@dataclass(frozen=True)
class Estimate:
    """One file: its first time and step in seconds, its vertices as stored, and how many times it has."""

    path: Path
    part: str
    start: float
    step: float
    vertices: bytes
    times: int

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Its vertices."""
        return np.frombuffer(self.vertices, ">u4").astype(np.int64)


Grid = tuple[tuple[str, float, float, bytes, int], ...]


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`sources`, or one cube for each set of vertices and times, named as their files begin. Raises InputError.

    Units are `lh-<vertex>`, with vertex, hemisphere and region; a file of a hemisphere may also be given alone.
    """
    path = Path(path).expanduser()
    files = files_like(path, PATTERNS)
    if path.is_file() and _part(path) in ("lh", "rh"):
        files = [path.with_name(f"{_stem(path)}-{part}.stc") for part in ("lh", "rh")]
    by_grid: dict[Grid, dict[str, tuple[Estimate, ...]]] = {}
    for stem, parts in _together(files).items():
        grid = tuple((one.part, one.start, one.step, one.vertices, one.times) for one in parts)
        again = by_grid.setdefault(grid, {})
        if stem in again:
            raise InputError(f"{parts[0].path} has the name of {again[stem][0].path}: stimuli go by names")
        again[stem] = parts
    found: dict[str, xr.DataArray] = {}
    for members in by_grid.values():
        name = "sources" if len(by_grid) == 1 else _common(members).rstrip("-_. ")
        number, free = 2, name or "sources"
        while free in found:
            free, number = f"{name or 'sources'}-{number}", number + 1
        found[free] = _cube(members)
    return found


@dataclass(frozen=True)
class Estimates:
    """Estimates of one grid as blocks (stimulus, vertex, time, 1): the files of each, and vertices per file."""

    files: tuple[tuple[Path, ...], ...]
    counts: tuple[int, ...]

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Values there. Raises InputError."""
        rows = [
            np.concatenate([_values(*one, where[2]) for one in zip(parts, self.counts, strict=True)], axis=1)
            for parts in self.files[where[0]]
        ]
        return np.ascontiguousarray(np.stack(rows)[:, :, where[1]].transpose(0, 2, 1))[..., None]


def _values(path: Path, count: int, times: slice) -> NDArray[np.float32]:
    """(time, vertex) of one file."""
    wanted = (times.stop - times.start) * count
    first = _HEAD.size + 4 * count + 4 + 4 * times.start * count
    with readable(path, WHAT):
        flat = np.fromfile(path, ">f4", wanted, offset=first)
    if len(flat) != wanted:
        raise InputError(f"{path} has become shorter since it was opened")
    return single(path, "its values", flat.reshape(-1, count).astype(np.float32))


def _together(files: Iterable[Path]) -> dict[str, tuple[Estimate, ...]]:
    """The estimates by folder and name, left hemisphere first. Raises InputError where one lacks its other."""
    by_name: dict[tuple[Path, str], list[Estimate]] = {}
    for one in sorted(files):
        by_name.setdefault((one.parent, _stem(one)), []).append(_opened(one))
    found: dict[str, tuple[Estimate, ...]] = {}
    for (folder, stem), parts in by_name.items():
        kinds = [one.part for one in parts]
        if kinds not in (["lh", "rh"], ["vl"], ["vol"]):
            raise InputError(
                f"{parts[0].path} stands beside {', '.join(kinds[1:]) or 'nothing'}; wanted both "
                f"{stem}-lh.stc and {stem}-rh.stc, or {stem}-vl.stc alone"
            )
        if len({(one.start, one.step, one.times) for one in parts}) > 1:
            raise InputError(f"{parts[0].path} has other times than {parts[1].path.name}")
        if stem in found:
            raise InputError(
                f"{folder} and {found[stem][0].path.parent} both have {stem!r}: give one of them"
            )
        found[stem] = tuple(parts)
    return found


def _opened(path: Path) -> Estimate:
    """What a file declares, its size verified. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; wanted both hemispheres")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        start, step, count = _HEAD.unpack(head) if len(head) == _HEAD.size else (0.0, 0.0, 0)
        plausible(path, "its head", (count,), 4)
        vertices = file.read(4 * count)
        tail = file.read(4)
    times = int.from_bytes(tail, "big")
    wanted = _HEAD.size + 4 * count + 4 + 4 * count * times
    if not count or not times or size != wanted:
        raise InputError(
            f"{path} holds {size} bytes; {count} vertices at {times} times need {wanted}. "
            "Is it a source estimate, and whole?"
        )
    plausible(path, "its head", (count, times), 4)
    if not (np.isfinite([start, step]).all() and step > 0 and abs(start) < 1e9):
        raise InputError(
            f"{path} starts at {start} ms in steps of {step} ms; wanted numbers, and a step above 0"
        )
    if len(np.unique(np.frombuffer(vertices, ">u4"))) != count:
        raise InputError(f"{path}: a vertex is there twice")
    return Estimate(path, _part(path), start / 1000, step / 1000, vertices, times)


def _cube(members: Mapping[str, tuple[Estimate, ...]]) -> xr.DataArray:
    parts = next(iter(members.values()))
    counts = tuple(len(one.numbers) for one in parts)
    vertices = np.concatenate([one.numbers for one in parts])
    sides = [one.part for one, count in zip(parts, counts, strict=True) for _ in range(count)]
    files = tuple(tuple(one.path for one in each) for each in members.values())
    shape = (len(members), len(vertices), parts[0].times, 1)
    step = max(1, BLOCK_BYTES // (4 * prod(shape[1:])))
    along = max(1, BLOCK_BYTES // (4 * step * shape[1]))
    chunks = (_cut(shape[0], step), (shape[1],), _cut(shape[2], along), (1,))
    return cube_of(
        from_blocks(Estimates(files, counts), chunks, np.float32),
        SOURCES,
        stimuli=list(members),
        units=[f"{side}-{vertex:06d}" for side, vertex in zip(sides, vertices.tolist(), strict=True)],
        time=parts[0].start + parts[0].step * np.arange(parts[0].times),
        sources=[one for each in files for one in each],
        attrs={
            "quantity": "source estimate",
            "units": "a.u.",
            "dataset": DATASET,
            "subject": parts[0].path.resolve().parent.name,
        },
        coords={
            "vertex": (UNIT, vertices),
            "hemisphere": (UNIT, [PARTS[one][0] for one in sides]),
            "region": (UNIT, [PARTS[one][1] for one in sides]),
        },
    )


def _common(names: Iterable[str]) -> str:
    """What all names begin with."""
    return "".join(
        letters[0] for letters in takewhile(lambda one: len(set(one)) == 1, zip(*names, strict=False))
    )


def _cut(size: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, size - start) for start in range(0, size, step))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".stc").rpartition("-")[0]


def _part(path: Path) -> str:
    return path.name.removesuffix(".stc").rpartition("-")[2]


READER: Final = Reader(
    "mne-sources",
    "Source estimates that MNE saved (.stc), one stimulus a file or pair of files.",
    PATTERNS[:2],
    read,
)
