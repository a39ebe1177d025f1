"""Tables of NWB 2 files (HDF5): columns of numbers and texts, ragged ones, and what refers to rows of others."""

from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers.cubes import texts
from stores.readers.lazy import plausible

LISTED: Final = 12
INDEX: Final = "_index"
ELECTRODES: Final = "general/extracellular_ephys/electrodes"


def group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    """The group of this name. Raises InputError."""
    if not isinstance(found := file.get(name), h5py.Group):
        raise InputError(
            f"{path} has no table {name!r}; it has {', '.join(list(file)[:LISTED]) or 'nothing'}"
        )
    return found


def columns(path: Path, table: h5py.Group, but: str = "") -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Columns with one number or text a row, as float64, int64, bool or str by name, and the names of the others.

    `id` is one of the former. `but` is one of the latter, as is what is ragged, has further axes or refers to
    other things. Raises InputError.
    """
    found, left = {}, []
    for name, one in table.items():
        if name.endswith(INDEX) or not isinstance(one, h5py.Dataset):
            continue
        if name == but or one.ndim != 1 or name + INDEX in table or not _plain(one):
            left.append(name)
        elif f"{name}_elements" in table:
            found[name] = _elements(path, table, name)
        elif not name.endswith("_elements"):
            found[name] = values(path, one)
    if len({len(one) for one in found.values()}) > 1:
        sizes = {name: len(one) for name, one in found.items()}
        raise InputError(f"{path}: columns of {table.name} have {sizes} rows; wanted as many")
    return found, left


def values(path: Path, one: h5py.Dataset) -> NDArray[Any]:
    """All of a small column. Raises InputError."""
    plausible(path, str(one.name), one.shape, one.dtype.itemsize, loaded=True)
    if h5py.check_string_dtype(one.dtype) is not None:
        return texts(one.asstr()[()])
    array = np.asarray(one[()])
    if array.dtype.kind == "b":
        return array
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def ends(path: Path, table: h5py.Group, name: str, rows: int) -> NDArray[np.int64]:
    """Where each row's values of the ragged column `name` start, and where the last ones end, (row + 1,).

    Raises InputError.
    """
    for wanted in (name, name + INDEX):
        if not isinstance(table.get(wanted), h5py.Dataset) or not table[wanted].ndim:
            raise InputError(
                f"{path}: {table.name} has no column {wanted!r}; it has {', '.join(list(table)[:LISTED])}"
            )
    found = table[name + INDEX]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError(f"{path}: {found.name} is {found.dtype}; wanted where each row ends")
    stops = values(path, found)
    first = np.concatenate([[0], stops]).astype(np.int64)
    if len(stops) != rows or (np.diff(first) < 0).any() or first[-1] != len(table[name]):
        raise InputError(
            f"{path}: {found.name} has {len(stops)} ends, the last at {first[-1]}, or not in order; "
            f"wanted {rows} rows, {len(table[name])} values"
        )
    return first


def ragged(path: Path, table: h5py.Group, name: str, rows: int) -> list[NDArray[Any]]:
    """The values of each row of a small ragged column. Raises InputError."""
    first = ends(path, table, name, rows)
    plausible(path, name, table[name].shape, table[name].dtype.itemsize, loaded=True)
    return np.split(np.asarray(table[name][()]), first[1:-1])


def recorded(path: Path, units: h5py.Group, count: int) -> list[NDArray[Any]] | None:
    """When each unit was recorded, (span, 2) in seconds; None where the file does not say. Raises InputError."""
    if "obs_intervals" not in units:
        return None
    found = ragged(path, units, "obs_intervals", count)
    if any(one.shape[1:] != (2,) or one.dtype.kind not in "fiu" or np.isnan(one).any() for one in found):
        raise InputError(f"{path}: units/obs_intervals are not all a start and a stop in seconds")
    return found


def electrodes(path: Path, file: h5py.File, count: int) -> dict[str, tuple[str, Any]]:
    """Coordinates of units from the electrodes they name: `electrodes` (ids), `region`, and mean x, y, z.

    Empty where units name none. Raises InputError.
    """
    units = file["units"]
    if "electrodes" not in units:
        return {}
    several = "electrodes_index" in units
    rows = (
        ragged(path, units, "electrodes", count)
        if several
        else list(np.atleast_2d(units["electrodes"][()]).T)
    )
    there, _ = columns(path, group(path, file, ELECTRODES))
    size = len(next(iter(there.values()), ()))
    for unit, one in enumerate(rows):
        if (
            one.dtype.kind not in "iu"
            or len(rows) != count
            or (len(one) and not 0 <= one.min() <= one.max() < size)
        ):
            raise InputError(
                f"{path}: electrodes of unit {unit} are {one.tolist()}; there are {size} electrodes"
            )
    found: dict[str, tuple[str, Any]] = {}
    if "id" in there:
        found["electrodes"] = (UNIT, texts(" ".join(str(there["id"][n]) for n in one) for one in rows))
    if "location" in there:
        found["region"] = (
            UNIT,
            texts("/".join(dict.fromkeys(texts(there["location"][one]))) for one in rows),
        )
    for axis in "xyz":
        if axis in there and there[axis].dtype.kind in "fi":
            found[axis] = (UNIT, np.array([there[axis][one].mean() if len(one) else np.nan for one in rows]))
    return found


def _elements(path: Path, table: h5py.Group, name: str) -> NDArray[Any]:
    """An enumeration: whole numbers that count the names in `<name>_elements`."""
    words, codes = values(path, table[f"{name}_elements"]), values(path, table[name])
    if codes.dtype.kind != "i" or (len(codes) and not 0 <= codes.min() <= codes.max() < len(words)):
        raise InputError(f"{path}: {table[name].name} counts beyond the {len(words)} {name}_elements")
    found: NDArray[Any] = words[codes]
    return found


def _plain(one: h5py.Dataset) -> bool:
    return one.dtype.kind in "fiub" or h5py.check_string_dtype(one.dtype) is not None
