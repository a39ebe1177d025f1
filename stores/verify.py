"""Re-reading everything a store holds, resumably, and naming what is wrong."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from stores.catalog import absent, existing, names
from stores.errors import StoreError
from stores.place import Place, check_name
from stores.target import COMPLETE, CUBE_FILES, JOURNAL, MANIFEST, crc32c, hash_of, mark_of

SAVE_EVERY_S: Final = 5.0


class Fault(NamedTuple):
    """One file that is not what was written."""

    cube: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.cube}: {self.file} {self.what}"


def verify(
    root: Any, name: str | None = None, *, progress: Callable[[str, int, int], None] | None = None
) -> list[Fault]:
    """Read every byte of every complete cube (or of one) and list what differs from its manifest.

    An empty list means that all is sound. Cubes that were never completed are not faults unless their
    mark has gone. A killed check goes on where it was: `.verify.json` in the root remembers sound files.
    progress : called with (cube, files done, files in all).
    Raises NotFoundError where there is no such store or cube.
    """
    store = existing(root)
    if name is not None and all((store / check_name(name)).read(file) is None for file in CUBE_FILES):
        raise absent(store, name)
    journal = _Journal(store)
    faults = []
    for cube in list(names(store)) if name is None else [name]:
        faults += list(_cube_faults(store / cube, cube, journal, progress))
    journal.close()
    return faults


def _cube_faults(
    place: Place, cube: str, journal: "_Journal", progress: Callable[[str, int, int], None] | None
) -> Iterator[Fault]:
    mark, manifest = place.read(COMPLETE), place.read(MANIFEST)
    if mark is None and manifest is None:
        return
    if mark is None:
        yield Fault(cube, COMPLETE, "is gone, or the run was killed just before writing it")
    if manifest is None:
        yield Fault(cube, MANIFEST, "is gone")
        return
    if mark is not None and mark != mark_of(manifest):
        yield Fault(cube, MANIFEST, f"does not match the `{COMPLETE}` mark: one of the two was changed")
        return
    try:
        record = json.loads(manifest)
        metadata, files, key = record["metadata"], record["files"], record["content_key"]
    except (ValueError, KeyError, TypeError):
        yield Fault(cube, MANIFEST, "cannot be parsed")
        return
    for name, digest in metadata.items():
        if place.read(name) is None:
            yield Fault(cube, name, "is gone")
        elif hash_of(place, name) != digest:
            yield Fault(cube, name, "differs from what was written (SHA-256)")
    for done, (name, wanted) in enumerate(files.items(), start=1):
        token = f"{cube}/{name}:{key}:{wanted['crc32c']}"
        if token not in journal:
            if what := _file_fault(place, name, wanted):
                yield Fault(cube, name, what)
            else:
                journal.add(token)
        if progress:
            progress(cube, done, len(files))


def _file_fault(place: Place, name: str, wanted: dict[str, Any]) -> str:
    data = place.read(name)
    if data is None:
        return "is gone"
    if len(data) != wanted["bytes"]:
        return f"has {len(data)} bytes; {wanted['bytes']} were written"
    if crc32c(data) != wanted["crc32c"]:
        return "differs from what was written (CRC32C)"
    return ""


class _Journal:
    """Files found sound so far, saved every few seconds and removed once the check is through.

    In a store that cannot be written none is kept, and none is believed: it could never be removed.
    """

    def __init__(self, store: Place) -> None:
        self._store = store
        self._there = store.read(JOURNAL) is not None
        try:
            self._sound: set[str] = set(store.read_json(JOURNAL) or ())
        except ValueError:
            self._sound = set()
        if self._there and not self._save():
            self._there, self._sound = False, set()
        self._saved = time.monotonic()

    def __contains__(self, token: str) -> bool:
        return token in self._sound

    def add(self, token: str) -> None:
        self._sound.add(token)
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self._there = self._save() or self._there
            self._saved = time.monotonic()

    def _save(self) -> bool:
        try:
            self._store.write_json(JOURNAL, sorted(self._sound))
        except StoreError:  # the store cannot be written, or is full: it can still be checked
            return False
        return True

    def close(self) -> None:
        if self._there:
            self._store.delete(JOURNAL)
