"""Re-reading everything a store holds, resumably, and naming what is wrong."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from stores.catalog import absent, existing, names
from stores.errors import CorruptError, StoreError
from stores.place import Place, check_name
from stores.target import COMPLETE, CUBE_FILES, JOURNAL, MANIFEST, digest, listed, mark_of

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
    try:
        mark, manifest = place.read(COMPLETE), place.read(MANIFEST)
    except (StoreError, OSError) as fault:
        yield Fault(cube, f"{COMPLETE} or {MANIFEST}", _unreadable(fault))
        return
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
        metadata, files, key = record["metadata"], listed(place, record), record["content_key"]
    except (ValueError, KeyError, TypeError):
        yield Fault(cube, MANIFEST, "cannot be parsed")
        return
    except CorruptError as fault:
        yield Fault(cube, MANIFEST, str(fault))
        return
    for name, sha in metadata.items():
        if what := _told(_metadata_fault, place, name, sha):
            yield Fault(cube, name, what)
    for done, (name, wanted) in enumerate(files.items(), start=1):
        if what := _told(_data_fault, place, name, wanted, f"{cube}/{name}:{key}:{wanted}", journal):
            yield Fault(cube, name, what)
        if progress:
            progress(cube, done, len(files))


def _told(check: Callable[..., str], place: Place, name: str, *wanted: Any) -> str:
    """What is wrong with one file; that it cannot be read is one fault among others."""
    try:
        return check(place, name, *wanted)
    except (StoreError, OSError) as fault:
        return _unreadable(fault)


def _unreadable(fault: Exception) -> str:
    return f"cannot be read: {fault}"


def _metadata_fault(place: Place, name: str, wanted: str) -> str:
    if (data := place.read(name)) is None:
        return "is gone"
    return "" if hashlib.sha256(data).hexdigest() == wanted else "differs from what was written (SHA-256)"


def _data_fault(place: Place, name: str, wanted: tuple[int, str], token: str, journal: "_Journal") -> str:
    token = f"{token}:{place.state(name)}"
    if token in journal:
        return ""
    if (data := place.read(name)) is None:
        return "is gone"
    if len(data) != wanted[0]:
        return f"has {len(data)} bytes; {wanted[0]} were written"
    if digest(data) != wanted:
        return "differs from what was written (CRC-32)"
    journal.add(token)
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
