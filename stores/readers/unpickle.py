"""Pickled .npy files of plain arrays, read only on request: in a process of its own, with an allow-list.

A pickle can run any code. `unpickled` therefore starts a fresh interpreter, isolated from this one's
environment and modules; an unpickler there knows NumPy's arrays and types and the plain containers of Python and
refuses every other name. It writes what it found as plain .npy files and JSON, and this process reads those.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stores.errors import InputError
from stores.provenance import file_record

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "numpy": frozenset({"ndarray", "dtype"}),
    "numpy.core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy.core.numeric": frozenset({"_frombuffer"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "_codecs": frozenset({"encode"}),
    "builtins": frozenset({"bytearray", "complex", "frozenset", "set", "slice"}),
    "collections": frozenset({"OrderedDict"}),
}
MINUTES: Final = 30
REFUSED: Final = 3


def unpickled(path: Path, allow_pickle: bool, scratch: Path | None = None) -> dict[str, Path | Any]:
    """What a pickled .npy of a dict holds: an array as the path of a plain .npy file, the rest as it is.

    scratch : where those files go, kept and reused by the content of `path`; else the user's cache folder.
    Raises InputError unless `allow_pickle`, and where the file holds more than arrays and plain values.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if not allow_pickle:
        raise InputError(
            f"{path} is a pickle, which can run code when it is read. If you trust where it comes from, "
            "give allow_pickle=True (in the command, --allow-pickle): it is then read in a process of its own "
            "that knows arrays alone."
        )
    folder = (scratch or cache()) / file_record(path)["sha256"]
    listing = folder / "contents.json"
    if not listing.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _convert(path, folder)
    found: dict[str, Any] = json.loads(listing.read_text(encoding="utf-8"))
    return {name: folder / one["file"] if "file" in one else one["value"] for name, one in found.items()}


def cache(name: str = "unpickled") -> Path:
    """Folder of this user for files made from others that can only be read whole."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neurocube" / name


def allowed(module: str, name: str) -> bool:
    """Whether a pickle may ask for this name."""
    return name in ALLOWED.get(module, ())


def _convert(path: Path, folder: Path) -> None:
    command = [sys.executable, "-I", "-B", str(Path(__file__).resolve().with_name("unpickle_worker.py"))]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and file, no shell
            [*command, str(path.resolve()), str(folder.resolve()), json.dumps(_listed())],
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
            check=False,
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: reading the pickle took over {MINUTES} minutes and was stopped") from error
    if done.returncode == REFUSED:
        raise InputError(f"{path} holds more than arrays and plain values: {done.stdout.strip()}. Not read.")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise InputError(f"{path} cannot be read as a pickled .npy ({last}). Is it whole? Fetch it again.")


def _listed() -> dict[str, list[str]]:
    return {module: sorted(names) for module, names in ALLOWED.items()}
