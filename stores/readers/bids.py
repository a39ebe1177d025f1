"""Names and side files of a dataset in BIDS: entities, and the nearest file that a recording inherits."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from stores.errors import InputError
from stores.readers.files import readable
from stores.readers.tables import text_of

_ENTITY: Final = re.compile(r"(?P<key>[a-z]+)-(?P<value>[A-Za-z0-9+]+)")


def entities(name: str) -> dict[str, str]:
    """Entities of a file's name, and its `suffix`.

    >>> entities("sub-01_task-faces_run-02_meg.fif")
    {'sub': '01', 'task': 'faces', 'run': '02', 'suffix': 'meg'}
    """
    found = {}
    for part in name.split(".")[0].split("_"):
        if match := _ENTITY.fullmatch(part):
            found[match["key"]] = match["value"]
        else:
            found["suffix"] = part
    return found


def matching(files: Iterable[Path], wanted: Mapping[str, str]) -> list[Path]:
    """Files each of whose entities, but for the suffix, `wanted` has too; those with most of them first."""
    fits = [(entities(one.name), one) for one in sorted(files)]
    fits = [(own, one) for own, one in fits if not _differing(own, wanted)]
    return [one for _, one in sorted(fits, key=lambda pair: -len(pair[0]))]


def inherited(path: Path, root: Path, suffix: str) -> Path | None:
    """The side file `*_<suffix>`, such as "channels.tsv", that applies to `path`: the nearest up to `root`."""
    own = entities(path.name)
    for folder in (path.parent, *path.parent.parents):
        # A companion ._x of a file x is of another system, not of the dataset.
        files = [one for one in folder.glob(f"*{suffix}") if not one.name.startswith(".")]
        files = [one for one in files if one.name == suffix or one.name.endswith(f"_{suffix}")]
        if found := matching(files, own):
            return found[0]
        if folder == root:
            break
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A side file of names and values. Raises InputError."""
    with readable(path, "a JSON file"):
        found = json.loads(text_of(path) if path.stat().st_size else "")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; wanted names and values")
    return found


def _differing(own: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    return [key for key, value in own.items() if key != "suffix" and wanted.get(key) != value]
