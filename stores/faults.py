"""What the system says of full devices, and of folders that cannot be used, as errors for people."""

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from errno import EACCES, EDQUOT, EEXIST, EFBIG, EISDIR, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from stores.errors import FullError, StoreError

P = ParamSpec("P")
R = TypeVar("R")

AGAIN: Final = "and run the same command again; finished shards are kept."
FULL: Final = {
    ENOSPC: f"no space left while writing {{url}}: {{free:.1f}} MB are free there. Free some space {AGAIN}",
    EDQUOT: f"your quota is used up while writing {{url}}. Free some space {AGAIN}",
    EFBIG: "a file of {url} would be larger than this process, or the file system, allows. Raise the limit "
    f"(`ulimit -f` shows it) {AGAIN}",
}
IS_FILE: Final = "a file lies where a folder is wanted"
UNUSABLE: Final = {
    EACCES: "permission is denied",
    EPERM: "permission is denied",
    EROFS: "the file system is read-only",
    ENOTDIR: IS_FILE,
    EEXIST: IS_FILE,
    EISDIR: "a folder lies where a file is wanted",
}


@contextlib.contextmanager
def faults_are_told(url: str) -> Iterator[None]:
    """Raise FullError, or StoreError, where the system says that a place is full, or cannot be used."""
    try:
        yield
    except OSError as fault:
        if fault.errno in FULL:
            raise FullError(FULL[fault.errno].format(url=url, free=_free(Path(url)) / 1e6)) from fault
        # Object stores deny permission without a number.
        code = EACCES if isinstance(fault, PermissionError) else fault.errno
        if code not in UNUSABLE:
            raise
        folders = (Path(url), *Path(url).parents) if UNUSABLE[code] == IS_FILE else ()
        where = next(filter(Path.is_file, folders), fault.filename or url)
        raise StoreError(
            f"{url} cannot be used: {UNUSABLE[code]} ({where}). "
            "Take a folder that you may read and write, or another name."
        ) from fault


def told(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A method of a place, under `faults_are_told`."""

    @functools.wraps(method)
    def telling(self: Any, /, *args: P.args, **options: P.kwargs) -> R:
        with faults_are_told(self.url):
            return method(self, *args, **options)

    return telling


def _free(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
