"""What tasks had to say while they filled a cube, such as channels found bad: small JSON files beside the values.

A cube's attributes are written before its values are known; a note is written with them. Notes are in the
manifest like every other file, so that `verify` re-reads them.
"""

import json
from typing import Any

from stores.errors import CorruptError
from stores.opening import expected_files
from stores.place import Place
from stores.target import NOTES, Target, digest


def write_note(target: Target, name: str, value: Any) -> None:
    """Leave plain JSON under `name`; the same task replaces it by the same if it runs again after a kill."""
    target.place.write_json(f"{NOTES}/{name}.json", value)


def notes(root: Any, name: str) -> dict[str, Any]:
    """The notes of a complete cube, by name; empty where its tasks left none. Raises as `stores.open_cube`."""
    place = Place.of(root) / name
    files = expected_files(Place.of(root), name)
    found = {}
    for file in sorted(file for file in files if file.startswith(f"{NOTES}/")):
        data = place.read(file) or b""
        if digest(data) != files[file]:
            raise CorruptError(
                f"{place}/{file} differs from what was written. Restore it, or make the cube again."
            )
        found[file.removeprefix(f"{NOTES}/").removesuffix(".json")] = json.loads(data)
    return found
