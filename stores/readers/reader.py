"""What a reader is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import xarray as xr


@dataclass(frozen=True)
class Reader:
    """One published dataset or file layout, and the way from its files to cubes.

    expects : the files or folders it wants, as a person would look for them.
    read : folder (or file) -> cubes by name, each of which passes its spec; what is big is lazy. Its keyword
    arguments are the options of an import (`stores.readers.request`).
    It raises stores.InputError, naming file and field, for files that are missing, broken or others.
    """

    name: str
    doc: str
    expects: tuple[str, ...]
    read: Callable[..., Mapping[str, xr.DataArray]]


def table(readers: Iterable[Reader]) -> Mapping[str, Reader]:
    """Readers by name; a second one of the same name is refused."""
    found: dict[str, Reader] = {}
    for one in readers:
        if one.name in found:
            raise ValueError(f"two readers are named {one.name!r}")
        found[one.name] = one
    return MappingProxyType(found)
