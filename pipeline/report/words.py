"""A cube or a result in words, for a terminal."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.report import terms
from stores.dims import TIME
from stores.specs import RESULTS, SPECS

SMALL: Final = 5_000_000
"""Numbers a result may have for its range to be worth reading."""
WIDE: Final = 100
"""Characters of a line."""
SHOWN: Final = 5
"""Entries of a list that are written out."""


def words(array: xr.DataArray) -> str:
    """What `array` is, its sizes, labels and units, and how it was made.

    Values are read only where it is a result of fewer than 5 million numbers, for its range.
    """
    lines = [*_head(array), "", *_axes(array)]
    if array.attrs.get("modality") in RESULTS and 0 < array.size <= SMALL:
        lines += ["", _range(array)]
    for title, facts in (("attributes", _attributes(array)), ("how it was made", terms.provenance(array))):
        if facts:
            lines += ["", f"{title}:", *_facts(facts, "  ")]
    return "\n".join(lines)


def _head(array: xr.DataArray) -> Iterator[str]:
    modality = str(array.attrs.get("modality", "unknown"))
    sizes = " x ".join(f"{size:,} {dim}" for dim, size in array.sizes.items())
    yield f"{array.name or 'array'}: {modality}, {sizes}"
    if modality in SPECS:
        yield from textwrap.wrap(SPECS[modality].doc, WIDE)
    quantity, units = array.attrs.get("quantity", "value"), array.attrs.get("units", "no units")
    yield f"{quantity} in {units}, {array.dtype}, {_bytes(array.nbytes)} in memory"


def _axes(array: xr.DataArray) -> Iterator[str]:
    for dim in array.dims:
        yield f"{dim} ({array.sizes[dim]:,}){_ids(array, str(dim))}"
        for name, coord in array.coords.items():
            if coord.dims == (dim,) and name != dim:
                yield f"  {name}: {_values(coord.values)}"
    for name, coord in array.coords.items():
        if len(coord.dims) != 1:
            where = " x ".join(map(str, coord.dims)) or "all"
            yield f"{name} (per {where}): {_values(coord.values.ravel())}"


def _ids(array: xr.DataArray, dim: str) -> str:
    if dim not in array.coords or not array.sizes[dim]:
        return ""
    values = array[dim].values
    if dim == TIME:
        if len(values) == 1:
            return f": {values[0]:g} s"
        return f": {values[0]:g} to {values[-1]:g} s, every {np.median(np.diff(values)):.4g} s"
    return f": {values[0]}" if len(values) == 1 else f": {values[0]} ... {values[-1]}"


def _values(values: np.ndarray[Any, Any]) -> str:
    if values.dtype.kind in "fiu":
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if not len(known):
            return "not known"
        low, high = f"{known.min():g}", f"{known.max():g}"
        return low if low == high else f"{low} to {high}"
    counts = pd.Series(values).value_counts(sort=False)
    if len(counts) > 8:
        return f"{len(counts):,} different, such as {counts.index[0]}"
    return ", ".join(f"{value} ({number:,})" for value, number in counts.items())


def _range(array: xr.DataArray) -> str:
    values = array.values[np.isfinite(array.values)]
    gone = array.size - len(values)
    lost = f"; {terms.count(gone, 'value')} not defined" if gone else ""
    if not len(values):
        return f"values: none is defined{lost}"
    return f"values: {values.min():.4g} to {values.max():.4g}, median {np.median(values):.4g}{lost}"


def _attributes(array: xr.DataArray) -> dict[str, Any]:
    said = {"modality", "quantity", "units", "provenance"}
    return {str(name): value for name, value in array.attrs.items() if name not in said}


def _facts(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _facts(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            yield f"{indent}{name}: {len(value):,}"
            yield from (_cut(f"{indent}  {_short(one)}") for one in value[:SHOWN])
            if len(value) > SHOWN:
                yield f"{indent}  ..."
        else:
            yield _cut(f"{indent}{name}: {_short(value)}")


def _cut(line: str) -> str:
    return line if len(line) <= WIDE else line[: WIDE - 3] + "..."


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(map(_short, value[:SHOWN]))
        return f"{shown}, ... ({len(value):,})" if len(value) > SHOWN else shown
    return " ".join(str(value).split())


def _bytes(n: int) -> str:
    size, units = float(n), ("B", "kB", "MB", "GB", "TB", "PB")
    for unit in units:
        if size < 1000 or unit == units[-1]:
            break
        size /= 1000
    return f"{size:.3g} {unit}"
