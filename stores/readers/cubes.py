"""The last step of a reader: values and labels to a cube that passes its spec."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError, SchemaError
from stores.readers.files import source_record
from stores.specs import Spec
from stores.validate import validate

Labels = Mapping[str, tuple[str | tuple[str, ...], Any]]


def cube_of(
    values: Any,
    spec: Spec,
    *,
    stimuli: Sequence[str],
    units: Sequence[str],
    sources: Iterable[Path],
    attrs: Mapping[str, Any],
    time: Any = (0.0,),
    coords: Labels | None = None,
    dropped: Mapping[str, int] | None = None,
) -> xr.DataArray:
    """A cube of `spec` from values (stimulus, unit, time, repeat), NumPy or Dask, and the labels of its axes.

    coords : name -> (dim or dims, values).    dropped : what was left out -> how much of it.
    Raises InputError, naming the first source, where the labels are not unique or do not fit.
    """
    files = list(sources)
    try:
        cube = xr.DataArray(
            values,
            dims=CUBE,
            coords={
                STIMULUS: texts(stimuli),
                UNIT: texts(units),
                TIME: np.asarray(time, np.float64),
                REPEAT: np.arange(values.shape[3]),
                **{name: (dim, _plain(one)) for name, (dim, one) in (coords or {}).items()},
            },
            attrs={
                "modality": spec.name,
                **attrs,
                "sources": [source_record(one) for one in files],
                "dropped": {name: int(count) for name, count in (dropped or {}).items() if count},
            },
        )
        return validate(cube, spec)
    except (SchemaError, ValueError) as error:
        raise InputError(f"{files[0]}: {error}") from error


def texts(values: Iterable[Any]) -> NDArray[np.object_]:
    """Labels as an array of str, of any length."""
    listed = [str(one) for one in values]
    found = np.empty(len(listed), object)
    found[:] = listed
    return found


def unique(path: Path, where: str, ids: Sequence[str]) -> Sequence[str]:
    """`ids` unchanged; InputError names those that appear twice."""
    seen: set[str] = set()
    again = [one for one in ids if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
    if again:
        raise InputError(f"{path}: {where} has {len(again)} repeated ids, such as {again[0]!r}")
    return ids


def numbered(letter: str, count: int) -> list[str]:
    """Ids by place where a file has no names: `u00000`, `u00001`, ..."""
    return [f"{letter}{n:05d}" for n in range(count)]


def _plain(values: Any) -> Any:
    array = np.asarray(values)
    return texts(array.ravel()).reshape(array.shape) if array.dtype.kind in "UO" else array
