"""Creating a cube whole, or finding the one that a killed run left; one writer at a time."""

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import dask.array
import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from stores.dims import VALUES
from stores.errors import SchemaError
from stores.faults import faults_are_told
from stores.layout import Access, Layout, codecs, layout
from stores.lock import LOCK, locked
from stores.place import Place, check_name
from stores.provenance import content_key, provenance
from stores.resume import described, usable
from stores.specs import SCHEMA_VERSION
from stores.storable import plain, stored
from stores.target import (
    COMPLETE,
    CUBE_FILES,
    JOURNAL,
    MANIFEST,
    NOTES,
    ORIGIN,
    Target,
    hash_of,
    read_target,
    size_and_crc,
)
from stores.validate import validate

SCHEMA: Final = "neurocube_schema"
OURS: Final = re.compile(
    rf"{'|'.join(map(re.escape, sorted(CUBE_FILES)))}|{NOTES}/[^/]+\.json|[^/]+/(zarr\.json|c(/\d+)*)"
)
"""Files of a cube."""
DEBRIS: Final = re.compile(rf"zarr\.json|{LOCK}|{re.escape(JOURNAL)}|(.+/)?[^/]+\.[0-9a-f]{{32}}\.partial")
"""Files that a killed creation may leave before it has said whose they are."""


@contextlib.contextmanager
def writing(
    root: Any,
    name: str,
    template: xr.DataArray,
    *,
    made_from: Mapping[str, Any],
    access: Access = "unit",
    stimuli: int | None = None,
    steps: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> Iterator[Target]:
    """Hold a cube open for filling: reuse it if complete, resume it if begun, else create it.

    template : dims, dtype, coordinates and attrs; its values are never computed.
    made_from : plain JSON of everything that decides the values; its hash is the content key.
    access, stimuli, steps : see `stores.layout.layout`.
    Raises SchemaError, LockedError; unless `overwrite`, KeyMismatchError where what is there was made from
    something else, or lies under other labels, and CorruptError where that cannot be told; and SchemaError
    where another cube lies above or below this name, or files that are no cube's lie in its folder.
    """
    place = Place.of(root) / check_name(name)
    if 0 in template.shape:
        raise SchemaError(f"{name} would be empty: sizes are {dict(template.sizes)}")
    validate(template)
    content_key(made_from)  # raises before anything is created, where a value is not plain JSON
    with locked(place):
        if overwrite or not usable(place, name, template, made_from):
            _check_free(Place.of(root), name)
            shape = layout(
                tuple(map(str, template.dims)),
                template.shape,
                template.dtype,
                access=access,
                stimuli=stimuli,
                steps=steps,
            )
            _create(place, template, made_from, shape)
        yield read_target(Place.of(root), name)


def _check_free(root: Place, name: str) -> None:
    """Refuse a name whose folder holds, or lies in, what is not this cube's: creating clears the folder."""
    for above in (*map(str, PurePosixPath(name).parents[:-1]), ""):
        if (root / above).files() & CUBE_FILES:
            raise SchemaError(
                f"{name} in {root} would lie inside of the cube {root / above}. Take another name."
            )
    there = sorted((root / name).sizes())
    if below := [
        f"{name}/{file}" for file in there if "/" in file and PurePosixPath(file).name in CUBE_FILES
    ]:
        cubes = dict.fromkeys(str(PurePosixPath(file).parent) for file in below)
        raise SchemaError(
            f"{name} in {root} is the beginning of the names of other cubes: {_some(cubes)}. Take another name."
        )
    ours = _is_ours(root / name, there)
    if foreign := [one for one in there if not (DEBRIS.fullmatch(one) or (ours and OURS.fullmatch(one)))]:
        raise SchemaError(
            f"{root / name} holds files that are not a cube's, which making {name} would delete: "
            f"{_some(foreign)}. Move them away, or take another name."
        )


def _is_ours(place: Place, files: Iterable[str]) -> bool:
    """Whether this folder's Zarr group is a cube, or what a killed creation left of one; not just anybody's."""
    if ORIGIN in files:
        return True
    try:
        return SCHEMA in place.read_json("zarr.json")["attributes"]
    except (ValueError, TypeError, KeyError):
        return False


def _some(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _create(
    place: Place,
    template: xr.DataArray,
    made_from: Mapping[str, Any],
    shape: Layout,
) -> None:
    """Write metadata and coordinates, then `origin.json`: without it the folder counts as debris."""
    for own in (COMPLETE, MANIFEST, ORIGIN):  # in this order: killed in between, it is a cube that was begun
        place.delete(own)
    place.clear(keep=(LOCK,))
    dataset = _as_dataset(template, made_from)
    with faults_are_told(place.url), warnings.catch_warnings():
        # Consolidated metadata is not in the v3 spec yet, but every reader of it ignores or uses it, and
        # it makes opening one read. It cannot go stale: a cube's metadata never change.
        warnings.simplefilter("ignore", ZarrUserWarning)
        store = place.zarr()
        dataset.to_zarr(
            store,
            mode="a",
            compute=False,
            consolidated=False,
            zarr_format=3,
            encoding=_encoding(dataset, shape),
        )
        zarr.consolidate_metadata(store)
    names = sorted(name for name in place.sizes() if name != LOCK)
    metadata = {name: hash_of(place, name) for name in names if name.endswith("zarr.json")}
    files = {name: size_and_crc(place, name) for name in names if name not in metadata}
    for name in names:
        place.sync(name)
    place.write_json(
        ORIGIN,
        {
            "content_key": content_key(made_from),
            "made_from": made_from,
            "template": described(dataset[VALUES]),
            "metadata": metadata,
            "files": {name: {"bytes": size, "crc32": crc} for name, (size, crc) in files.items()},
        },
    )


def _as_dataset(template: xr.DataArray, made_from: Mapping[str, Any]) -> xr.Dataset:
    """The template with no values, plain coordinates and plain JSON attributes."""
    blank = dask.array.empty(template.shape, dtype=template.dtype, chunks=template.shape)
    attrs = {str(k): plain(v) for k, v in template.attrs.items()} | {"provenance": provenance(made_from)}
    # Without indexes: a million unit ids would be hashed and never looked up.
    coords = xr.Coordinates({name: stored(coord) for name, coord in template.coords.items()}, indexes={})
    variables = {VALUES: xr.Variable(template.dims, blank, attrs)}
    return xr.Dataset(variables, coords, {SCHEMA: SCHEMA_VERSION})


def _encoding(dataset: xr.Dataset, shape: Layout) -> dict[str, dict[str, Any]]:
    plain = {"compressors": codecs(), "filters": ()}
    found: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        found[str(name)] = dict(plain)
        if variable.shape:
            found[str(name)]["chunks"] = tuple(max(1, n) for n in variable.shape)
    found[VALUES] |= {"chunks": shape.chunk, "shards": shape.shard}
    if dataset[VALUES].dtype.kind == "f":
        found[VALUES]["_FillValue"] = np.nan
    return found
