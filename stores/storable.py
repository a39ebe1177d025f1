"""What a store would lose or change: names, attributes and texts that Zarr or xarray do not keep."""

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import VALUES
from stores.lock import LOCK
from stores.target import CUBE_FILES, NOTES

RESERVED: Final = CUBE_FILES | {LOCK, NOTES, VALUES, "zarr.json"}
"""Names that a cube's folder keeps for itself."""
_NUMBERS = {"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned"}
ENCODING: Final = frozenset(_NUMBERS | {"_Encoding", "dtype", "coordinates"})
"""Attributes by which xarray says how numbers lie on disk: on reading it applies them, and takes them away."""
PLAIN: Final = ("string", "bytes", "boolean", "integer", "floating", "empty")
"""What an array of objects may hold, as pandas calls it."""


def storing_faults(cube: xr.DataArray) -> Iterator[str]:
    """Everything of `cube` that would not come back from a store as it is, one sentence each.

    Reads coordinates that are in memory, never values.
    """
    yield from _attr_faults("attrs", cube.variable)
    for name, coord in cube.coords.items():
        yield from _name_faults(name)
        yield from _attr_faults(f"coordinate {name!r}: attrs", coord.variable)
        if not isinstance(cube.indexes.get(name), pd.MultiIndex):
            yield from _text_faults(name, coord)


def plain(value: Any) -> Any:
    """`value` with the numbers and arrays of NumPy that are in it as Python's; dates stay what they are."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "mM":
        return plain(value.tolist()) if isinstance(value, np.ndarray) else value.item()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def stored(coord: xr.DataArray) -> xr.Variable:
    """A coordinate as it is stored: texts as objects (variable-length UTF-8); contiguous, native byte order."""
    values = coord.values
    # pandas' and NumPy's own string types come back from stores: their kind is "T", or "O" already.
    if values.dtype.kind in "UTSO":
        values = values.astype(object)
    attrs = {str(k): plain(v) for k, v in coord.attrs.items() if k != "provenance"}
    return xr.Variable(coord.dims, np.ascontiguousarray(values).reshape(coord.shape), attrs)


def _attr_faults(where: str, variable: xr.Variable) -> Iterator[str]:
    taken = ENCODING | ({"units", "calendar"} if variable.dtype.kind in "mM" else set())
    for name, value in variable.attrs.items():
        if name in taken:
            yield f"{where}[{name!r}] would change or vanish: xarray keeps this name for itself. Take another"
        elif name == "units" and isinstance(value, str) and "since" in value:
            yield f"{where}['units'] is {value!r}, by which xarray would turn the numbers into dates"
        try:
            json.dumps(plain(value), ensure_ascii=False).encode()
        except (TypeError, ValueError) as fault:
            yield f"{where}[{name!r}] cannot be stored ({fault}); wanted texts, numbers, lists or tables"


def _name_faults(key: Hashable) -> Iterator[str]:
    name = key if isinstance(key, str) else ""
    if name in RESERVED:
        yield f"no coordinate can be named {name!r}, which a cube's folder keeps for itself"
    elif (
        not name.isprintable() or name.startswith(".") or set(name) & set(" /\\") or not 0 < len(name) <= 100
    ):
        yield (
            f"{key!r} cannot name a coordinate; wanted one word of at most 100 letters, without spaces and "
            "slashes, that does not start with '.'"
        )


def _text_faults(name: Hashable, coord: xr.DataArray) -> Iterator[str]:
    if coord.dtype.kind not in "OU" or coord.chunks is not None:
        return
    values = np.asarray(coord.values, object).ravel()
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind not in PLAIN:
        if missing := int(pd.isna(values).sum()):
            yield (
                f"coordinate {name!r} lacks {missing} of {len(values)} values (None or NaN among objects); "
                "wanted '' for a text, NaN among floats"
            )
        else:
            yield f"coordinate {name!r} holds objects ({kind}); wanted texts, or numbers of one kind"
    elif kind == "string":
        try:
            "".join(values).encode()
        except UnicodeEncodeError as fault:
            broken = next(one for one in values if fault.object[fault.start] in one)
            yield f"coordinate {name!r} holds {broken!r}, which is not Unicode; wanted another spelling of it"
