"""One folder of a store: a local directory or an fsspec URL, with durable whole-file writes."""

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from stores.errors import InputError, StoreError
from stores.faults import told


@dataclass(frozen=True)
class Place:
    """A folder, named by an absolute local path or by an fsspec URL such as `s3://bucket/store`."""

    url: str

    @classmethod
    def of(cls, root: "str | os.PathLike[str] | Place") -> "Place":
        """Parse `root`; `~` is expanded, a `file:` URL becomes a path. Raises InputError."""
        if isinstance(root, Place):
            return root
        text = re.sub("^file:(//(localhost)?(?=/))?", "", os.fspath(root), flags=re.IGNORECASE)
        if text.startswith("//") and text != os.fspath(root):
            raise InputError(f"{root} names another machine; wanted the path of a folder")
        if "://" in text or "::" in text:
            bare = text.rstrip("/")
            return cls(f"{bare}//" if bare.endswith(":") else bare)  # `memory://` is a root of its own
        try:
            return cls(str(Path(text).expanduser().absolute()))
        except RuntimeError as fault:
            raise InputError(f"{text} begins with the home folder of a user who is not known here") from fault

    @property
    def local(self) -> Path | None:
        """The local directory, or None for a remote place."""
        return None if "://" in self.url or "::" in self.url else Path(self.url)

    def __truediv__(self, name: str) -> "Place":
        return Place(f"{self.url}/{name}") if name else self

    def __str__(self) -> str:
        return self.url

    def _fs(self) -> tuple[Any, str]:
        try:
            return fsspec.core.url_to_fs(self.url)  # type: ignore[no-any-return]
        except (ImportError, ValueError) as fault:
            raise StoreError(f"cannot reach {self.url}: {fault}") from fault

    def zarr(self, *, read_only: bool = False) -> Store:
        """A Zarr store over this folder."""
        if self.local is not None:
            return LocalStore(self.local, read_only=read_only)
        fs, path = self._fs()
        if not fs.async_impl:
            return FsspecStore(AsyncFileSystemWrapper(fs, asynchronous=True), read_only=read_only, path=path)
        fs, path = fsspec.core.url_to_fs(self.url, asynchronous=True)
        return FsspecStore(fs, read_only=read_only, path=path)

    @told
    def read(self, name: str) -> bytes | None:
        """The bytes of one file; None where it is not there."""
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            fs, path = self._fs()
            return bytes(fs.cat_file(f"{path}/{name}"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_json(self, name: str) -> Any:
        """One JSON file, or None where it is not there. Raises ValueError where it is not JSON."""
        data = self.read(name)
        return None if data is None else json.loads(data)

    @told
    def write(self, name: str, data: bytes | Iterable[bytes], *, sync: bool = True) -> None:
        """Write one file whole: other processes see the old bytes or the new, also after a power cut.

        data : the bytes, or pieces of them in order, of which one at a time is held.
        sync : False leaves to a later `sync` what is to survive a power cut.
        """
        pieces = [data] if isinstance(data, bytes) else data
        if self.local is None:
            fs, path = self._fs()
            fs.pipe_file(f"{path}/{name}", b"".join(pieces))
            return
        target = self.local / name
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines(pieces)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        if sync:
            _sync_folder(target.parent)

    def write_json(self, name: str, value: Any) -> None:
        """`write` of a JSON value, readable and with sorted keys."""
        self.write(name, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode())

    def sync(self, name: str) -> None:
        """Make one file that is already written survive a power cut; object stores do so by themselves."""
        if self.local is None:
            return
        with (self.local / name).open("rb") as file:
            os.fsync(file.fileno())

    @told
    def delete(self, name: str) -> None:
        """Remove one file; nothing happens where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                (self.local / name).unlink()
            else:
                fs, path = self._fs()
                fs.rm_file(f"{path}/{name}")

    @told
    def clear(self, *, keep: tuple[str, ...] = ()) -> None:
        """Remove everything below this folder but the files of these names at its top, which goes last."""
        if self.local is not None:
            for entry in sorted(self.local.iterdir(), key=Path.is_file) if self.local.is_dir() else ():
                if entry.name in keep:
                    continue
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            return
        for name in sorted(self.sizes(), key=lambda name: "/" not in name):
            if name not in keep:
                self.delete(name)

    @told
    def sizes(self, under: str = "") -> dict[str, int]:
        """Every file below `under`, by its name relative to this folder, with its size in bytes."""
        if self.local is not None:
            return dict(_local_sizes(self.local / under, self.local))
        fs, path = self._fs()
        fs.invalidate_cache()
        found = fs.find(f"{path}/{under}" if under else path, detail=True)
        prefix = path.rstrip("/") + "/"
        return {name.removeprefix(prefix): int(info["size"]) for name, info in found.items()}

    @told
    def state(self, name: str) -> str:
        """What changes with a file that is written again: its size, its time, and what else the system tells."""
        fs, path = self._fs()
        fs.invalidate_cache()
        try:
            return str(fs.ukey(f"{path}/{name}"))
        except (FileNotFoundError, NotADirectoryError):
            return ""

    @told
    def exists(self) -> bool:
        """Whether there is such a folder; in an object store, whether anything lies below it."""
        if self.local is not None:
            return self.local.is_dir()
        fs, path = self._fs()
        fs.invalidate_cache()
        return bool(fs.exists(path))

    @told
    def folders(self) -> list[str]:
        """Names of the folders directly below this one, sorted."""
        if self.local is not None:
            if not self.local.is_dir():
                return []
            with os.scandir(self.local) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        fs, path = self._fs()
        fs.invalidate_cache()
        if not fs.exists(path):
            return []
        listing = fs.ls(path, detail=True)
        return sorted(
            entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in listing if entry["type"] == "directory"
        )

    @told
    def files(self) -> set[str]:
        """Names of the files directly in this folder."""
        if self.local is not None:
            if not self.local.is_dir():
                return set()
            with os.scandir(self.local) as entries:
                return {entry.name for entry in entries if entry.is_file()}
        fs, path = self._fs()
        fs.invalidate_cache()
        if not fs.exists(path):
            return set()
        listing = fs.ls(path, detail=True)
        return {entry["name"].rsplit("/", 1)[-1] for entry in listing if entry["type"] == "file"}


def check_name(name: str) -> str:
    """A cube's name: path parts of letters, digits and `._-+@=,` joined by `/`; never leaves the store.

    No part starts with `.`: such folders are hidden, and no cubes to `catalog`.
    """
    parts = name.split("/")
    allowed = set("._-+@=,")
    ok = all(p and p[0] != "." and all(c.isalnum() or c in allowed for c in p) for p in parts)
    if not ok or len(name) > 200 or max(len(p.encode()) for p in parts) > 255:
        raise InputError(
            f"{name!r} cannot name a cube: use parts of letters, digits and ._-+@=, that do not start with '.', "
            "joined by '/', such as 'activations/alexnet/conv1'"
        )
    return name


def _local_sizes(folder: Path, top: Path) -> Iterator[tuple[str, int]]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _local_sizes(Path(entry.path), top)
            else:
                # A file may go between listing and asking: another process finishes its partial write.
                with contextlib.suppress(FileNotFoundError):
                    yield Path(entry.path).relative_to(top).as_posix(), entry.stat().st_size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
