"""Run by `unpickle` in a process of its own: one pickled .npy to plain files. Imports nothing of neurocube.

Usage: unpickle_worker.py FILE FOLDER ALLOWED-AS-JSON. Ends with 3 where the pickle asks for another name.
"""

import json
import pickle
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

REFUSED = 3
MOST_BYTES = 64 * 2**30


class RefusedError(Exception):
    """The pickle asks for something that is not on the list."""


class Unpickler(pickle.Unpickler):
    """Finds the names of the list and no others."""

    names: dict[str, list[str]]

    def find_class(self, module: str, name: str) -> Any:
        """The object of this name; RefusedError where it is not on the list."""
        if name not in self.names.get(module, []):
            raise RefusedError(f"it asks for {module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, _: Any) -> Any:
        """Refused: an array file has no use for it."""
        raise RefusedError("it refers to objects outside of it")


def contents(path: Path, names: dict[str, list[str]]) -> dict[str, Any]:
    """The dict that the array without axes in a .npy file holds."""
    with path.open("rb") as file:
        version = npy.read_magic(file)
        shape, _, dtype = (
            npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        )
        if not dtype.hasobject or shape != ():
            raise ValueError(f"it holds {dtype} {shape}, not one pickled dict")
        reader = Unpickler(file)
        reader.names = names
        found = reader.load()
        if file.read(1):
            raise ValueError("more follows the pickle")
    while isinstance(found, np.ndarray) and found.dtype == object and found.size == 1:
        found = found.ravel()[0]
    if not isinstance(found, dict):
        raise RefusedError(f"it is a {type(found).__name__}, not a dict")
    return found


def plain(value: Any) -> Any:
    """Value as JSON can hold it; RefusedError where it cannot."""
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise RefusedError(f"it holds a {type(value).__name__}")


def write(found: dict[str, Any], folder: Path) -> None:
    """Numeric arrays as .npy files, the rest in contents.json, which comes last."""
    listing: dict[str, Any] = {}
    for number, (name, value) in enumerate(found.items()):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.ndim:
            np.save(folder / f"{number}.npy", np.ascontiguousarray(value), allow_pickle=False)
            listing[str(name)] = {"file": f"{number}.npy"}
        else:
            listing[str(name)] = {"value": plain(value)}
    temporary = folder / "contents.json.new"
    temporary.write_text(json.dumps(listing), encoding="utf-8")
    temporary.rename(folder / "contents.json")


def main() -> int:
    """Convert the file that the arguments name."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        write(contents(Path(sys.argv[1]), json.loads(sys.argv[3])), Path(sys.argv[2]))
    except RefusedError as error:
        sys.stdout.write(f"{error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
