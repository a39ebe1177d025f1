"""One writer at a time: a lock file with host and process, broken only when its owner is dead."""

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from stores.errors import LockedError
from stores.faults import faults_are_told
from stores.place import Place
from stores.target import ORIGIN

LOCK: Final = "lock"


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the writer's lock of one cube. Raises LockedError where another process, or this one, holds it."""
    with _local(place) if place.local is not None else _remote(place):
        yield


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}


def _refuse(place: Place, owner: dict[str, Any], remedy: str) -> LockedError:
    return LockedError(
        f"{place} is being written by process {owner.get('pid')} on {owner.get('host')}. {remedy}"
    )


@contextlib.contextmanager
def _local(place: Place) -> Iterator[None]:
    path = Path(place.url) / LOCK
    with faults_are_told(place.url):
        made = [folder for folder in path.parents if not folder.exists()]
    with _flocked(place, path) as file:
        _check_other_host(place, _parse(path.read_text()))
        try:
            with faults_are_told(place.url):
                file.truncate(0)
                # Past the buffer, which would be flushed, and fail, once more on closing.
                os.write(file.fileno(), json.dumps(_owner()).encode())
            yield
        finally:
            file.truncate(0)
            if place.read(ORIGIN) is None:
                path.unlink()  # no cube was created: leave no trace
                _remove_empty(made)


@contextlib.contextmanager
def _flocked(place: Place, path: Path) -> Iterator[TextIO]:
    while True:
        with faults_are_told(place.url):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = path.open("a+", encoding="utf-8")
            except FileNotFoundError:  # another process removed the empty folder in between
                continue
        with file:
            try:
                # The kernel frees this lock with its process: a killed owner never blocks its successor.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _refuse(place, _parse(path.read_text()), "Wait for it, or stop it.") from None
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield file
                return


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # the first folder that is not empty ends the walk up
        for folder in folders:
            folder.rmdir()


def _check_other_host(place: Place, owner: dict[str, Any]) -> None:
    """A network file system may not carry locks between hosts: an unfinished owner elsewhere counts as alive."""
    if owner and owner.get("host") != socket.gethostname():
        raise _refuse(place, owner, f"If that process is gone, delete {place}/{LOCK} and run again.")


@contextlib.contextmanager
def _remote(place: Place) -> Iterator[None]:
    me = _owner()
    fs, path = place._fs()
    target = f"{path}/{LOCK}"
    with faults_are_told(place.url):
        for attempt in ("first", "after breaking a dead owner's lock"):
            try:
                fs.pipe_file(target, json.dumps(me).encode(), mode="create")
                break
            except FileExistsError:
                owner = _parse((place.read(LOCK) or b"").decode())
                if attempt != "first" or not _dead(owner):
                    raise _refuse(
                        place, owner, f"If that process is gone, delete {place}/{LOCK} and run again."
                    ) from None
                place.delete(LOCK)
    # Two processes may break one dead lock at once; the last to create it is the one that stays.
    time.sleep(0.05 if attempt != "first" else 0)
    if (holder := _parse((place.read(LOCK) or b"").decode())).get("token") != me["token"]:
        raise _refuse(place, holder, "Wait for it, or stop it.")
    try:
        yield
    finally:
        place.delete(LOCK)


def _dead(owner: dict[str, Any]) -> bool:
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _parse(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
