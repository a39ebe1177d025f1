"""Plain arrays with a small YAML of names: .npy, .npz, .csv or HDF5, one array to a cube.

`cube.yaml` says what the numbers are and what lies along their axes:

    modality: spikes                 # a spec; quantity, units, subject, dataset go with it
    file: responses.npz              # beside the YAML
    array: counts                    # which one, in a .npz or HDF5 file
    dims: [unit, stimulus]           # of the array, in its order; a dim that is not here has size 1
    stimulus: images.txt             # ids: a text file with one a line, or a list
    unit: [c1, c2, c3]
    time: [0.0, 0.05]                # seconds, where there is a time axis
    coords: {unit: {region: [V1, V1, IT]}}
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from numpy.typing import NDArray

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts, unique
from stores.readers.files import find
from stores.readers.hdf5 import dataset, opened
from stores.readers.lazy import LOADED_BYTES, Region, finite, lazy
from stores.readers.npy import Stored, header, members
from stores.readers.reader import Reader
from stores.readers.tables import text_of
from stores.specs import MODALITIES, SPECS

NAMES: Final = "cube.yaml"
KEYS: Final = ("modality", "quantity", "units", "dataset", "subject", "file", "array", "dims",
               "stimulus", "unit", "time", "coords")  # fmt: skip
NEEDED: Final = ("modality", "quantity", "units", "dataset", "file", "dims", "stimulus", "unit")


@dataclass(frozen=True)
class Dataset:
    """Regions of an HDF5 dataset as blocks of a cube; `axes` as in `npy.Stored`."""

    path: Path
    name: str
    rank: int
    axes: tuple[int | None, ...]

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there, in the cube's order of axes. Raises InputError."""
        wanted = [slice(None)] * self.rank
        for axis, region in zip(self.axes, where, strict=True):
            if axis is not None:
                wanted[axis] = region
        with opened(self.path) as file:
            values = np.asarray(file[self.name][tuple(wanted)])
        return _placed(finite(self.path, self.name, values), self.axes)


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """One cube, named as the array's file; from a folder with cube.yaml, or the YAML itself.

    Raises InputError naming file and field where a key is unknown or missing, or the sizes do not fit.
    """
    listing = find(path, NAMES)
    names = _names(listing)
    file = _beside(listing, str(names["file"]))
    dims = names["dims"]
    if not isinstance(dims, list) or set(dims) - set(CUBE) or len(set(map(str, dims))) != len(dims):
        raise InputError(f"{listing}: dims is {dims!r}; wanted some of {', '.join(CUBE)}, each once")
    axes = tuple(dims.index(dim) if dim in dims else None for dim in CUBE)
    values = _values(listing, file, names.get("array"), axes, len(dims))
    stimuli, units = (_ids(listing, names[dim], dim) for dim in (STIMULUS, UNIT))
    time = _time(listing, names.get(TIME), TIME in dims)
    for dim, labels in ((STIMULUS, stimuli), (UNIT, units), (TIME, time)):
        if (size := values.shape[CUBE.index(dim)]) != len(labels):
            told = f", from {names[dim]}," if isinstance(names.get(dim), str) else ""
            raise InputError(f"{listing}: {len(labels)} of {dim}{told} for an axis of {size} in {file.name}")
    return {
        file.stem: cube_of(
            values,
            SPECS[names["modality"]],
            stimuli=stimuli,
            units=units,
            time=time,
            sources=[listing, file],
            attrs={one: names[one] for one in ("quantity", "units", "dataset", "subject") if one in names},
            coords=_coords(listing, names.get("coords", {}), values.shape),
        )
    }


def _names(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no YAML ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; wanted keys such as {', '.join(NEEDED)}")
    if missing := [key for key in NEEDED if key not in found]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it has {', '.join(map(str, found))}")
    if unknown := [str(key) for key in found if key not in KEYS]:
        raise InputError(f"{path}: unknown {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    if found["modality"] not in MODALITIES:
        raise InputError(f"{path}: modality {found['modality']!r}; wanted one of {', '.join(MODALITIES)}")
    return found


def _values(listing: Path, path: Path, name: Any, axes: tuple[int | None, ...], rank: int) -> Any:
    """The array as a lazy cube's values, from whichever kind of file it is."""
    ending = path.suffix.lower()
    if ending == ".csv":
        return _placed(_table(path, rank), axes)
    if ending == ".npy":
        head, name = header(path), ""
    elif ending == ".npz":
        found = members(path)
        if name not in found:
            raise InputError(f"{listing}: array is {name!r}; {path.name} has {', '.join(found) or 'none'}")
        head = found[name]
    elif ending in (".h5", ".hdf5", ".hdf"):
        with opened(path) as file:
            one = dataset(path, file, str(name), ndim=rank)
            shape, dtype = tuple(map(int, one.shape)), one.dtype.newbyteorder("=").str
        return lazy(Dataset(path, str(name), rank, axes), _shape(shape, axes), dtype, split=1, source=path)
    else:
        raise InputError(f"{path} ends in {ending or 'nothing'}; wanted .npy, .npz, .csv, .h5, .hdf5 or .hdf")
    native = np.dtype(head.dtype).newbyteorder("=")
    if len(head.shape) != rank or native.kind not in "fiu":
        raise InputError(f"{path}: {name or 'its array'} is {native} {head.shape}; dims names {rank} axes")
    stored = Stored(path, str(name), head, axes, native.str)
    return lazy(stored, _shape(head.shape, axes), native, split=1, source=path)


def _table(path: Path, rank: int) -> NDArray[np.float64]:
    """Numbers of a .csv without header or index; an empty field is NaN."""
    if path.stat().st_size > LOADED_BYTES:
        raise InputError(f"{path} is over {LOADED_BYTES / 2**30:.0f} GiB of text; give it as .npy or HDF5")
    text = text_of(path)
    try:
        values = pd.read_csv(io.StringIO(text), header=None, dtype=np.float64).to_numpy()
    except Exception as error:  # pandas raises nearly anything on what is no table
        raise InputError(f"{path} is no table of numbers without a header ({error})") from error
    if rank != 2:
        raise InputError(f"{path} has rows and columns; dims names {rank} axes")
    return finite(path, "its table", values)


def _placed(values: NDArray[Any], axes: tuple[int | None, ...]) -> NDArray[Any]:
    values = values.transpose([axis for axis in axes if axis is not None])
    where = tuple(np.newaxis if axis is None else slice(None) for axis in axes)
    return np.ascontiguousarray(values[where])


def _shape(shape: tuple[int, ...], axes: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(1 if axis is None else shape[axis] for axis in axes)


def _beside(listing: Path, name: str) -> Path:
    """A file that the YAML names. Raises InputError."""
    try:
        return find(listing.parent / name, name)
    except InputError as error:
        raise InputError(f"{listing}: {error}") from error


def _ids(listing: Path, found: Any, dim: str) -> list[str]:
    if isinstance(found, str):
        file = _beside(listing, found)
        try:
            found = file.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not text ({error}); wanted one id of {dim} a line") from error
        found = [one.strip() for one in found if one.strip()]
        unique(file, dim, found)
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise InputError(f"{listing}: {dim} must be a file name or a list of texts (quote numbers)")
    return list(unique(listing, dim, found))


def _time(listing: Path, found: Any, there: bool) -> NDArray[np.float64]:
    if not there:
        return np.zeros(1)
    try:
        return np.asarray(found, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{listing}: time is {found!r}; wanted a list of seconds") from error


def _coords(listing: Path, found: Any, shape: tuple[int, ...]) -> dict[str, tuple[str, Any]]:
    coords: dict[str, tuple[str, Any]] = {}
    for dim, names in found.items() if isinstance(found, dict) else [(str(found), None)]:
        if dim not in (STIMULUS, UNIT, REPEAT) or not isinstance(names, dict):
            raise InputError(f"{listing}: coords must hold names and lists under stimulus, unit or repeat")
        for name, values in names.items():
            size = shape[CUBE.index(dim)]
            if not isinstance(values, list) or len(values) != size:
                raise InputError(f"{listing}: coords.{dim}.{name} must be a list of {size} values")
            mixed = any(isinstance(one, str) for one in values)
            coords[str(name)] = (dim, texts(values) if mixed else np.asarray(values))
    return coords


READER: Final = Reader(
    "arrays",
    "Plain .npy, .npz, .csv or HDF5 arrays with a small YAML that names their axes.",
    (NAMES,),
    read,
)
