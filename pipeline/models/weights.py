"""Weights files: .npz, .safetensors and .pt read without running any code that is inside them."""

import hashlib
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from torch import nn

from pipeline.models.errors import ModelError, in_words

PRETRAINED: Final = "pretrained"
"""The word that lets a registry fetch its own weights."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> dict[str, torch.Tensor]:
    """Arrays of a weights file by name. Raises ModelError: absent, unknown kind, damaged, or holding code."""
    if not path.is_file():
        raise ModelError(f"no weights file {path}; give the path of an .npz, .safetensors or .pt file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelError(f"weights file {path} has suffix {path.suffix!r}; wanted one of {sorted(_READERS)}")
    try:
        return reader(path)
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"cannot read weights file {path}: {in_words(error)}") from error


def _npz(path: Path) -> dict[str, torch.Tensor]:
    if not is_zipfile(path):  # NumPy takes what it does not know for a pickle, and tells how to open those
        raise ModelError(f"cannot read weights file {path}: it is no .npz archive, or a damaged one")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModelError("reading .safetensors needs the extra: pip install 'neurocube[zoo]'") from error
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"cannot read weights file {path}: {error}") from error
    return tensors


def _torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was written, which its reader cannot change
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch has no kind of its own for a foreign file, and advises to run its code
        raise ModelError(
            f"cannot read weights file {path}: it {_refused(error)}. Wanted names and tensors alone: write "
            "them with torch.save(module.state_dict(), ...), or as .safetensors or .npz"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise ModelError(f"{path} holds a {type(loaded).__name__}; wanted names and tensors (a state_dict)")
    # A network saved from DataParallel carries this before every name.
    bare = all(name.startswith("module.") for name in loaded)
    return {name.removeprefix("module.") if bare else name: value for name, value in loaded.items()}


def _refused(error: Exception) -> str:
    """Why torch did not load a file, without its advice to trust it."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return f"holds {named[1]}, and anything but tensors may run code"
    if "TorchScript" in str(error):
        return "holds TorchScript, which is a program"
    return "is no weights file of torch, or a damaged one"


_DAMAGE: Final = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error)
_READERS: Final = {".npz": _npz, ".safetensors": _safetensors, ".pt": _torch, ".pth": _torch}


def fill(module: nn.Module, arrays: Mapping[str, torch.Tensor], source: object) -> None:
    """Put `arrays` into `module`. Raises ModelError listing every array missing, unexpected or misshapen.

    Counters of batch normalisation (`num_batches_tracked`) may be absent: they change nothing at inference.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in arrays and not name.endswith("num_batches_tracked")]
    extra = [name for name in arrays if name not in wanted]
    shapes = [
        f"{name} is {tuple(arrays[name].shape)}, wanted {tuple(wanted[name].shape)}"
        for name in wanted
        if name in arrays and arrays[name].shape != wanted[name].shape
    ]
    faults = [
        f"{len(found)} {what}: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
        for what, found in (
            ("missing", missing),
            ("not part of the network", extra),
            ("of another shape", shapes),
        )
        if found
    ]
    if faults:
        raise ModelError(
            f"{source} does not fit {type(module).__name__} ({len(wanted)} arrays):\n  - "
            + "\n  - ".join(faults)
        )
    module.load_state_dict(dict(arrays), strict=False)
