"""Where networks come from: torchvision, timm, transformers, a Python file, and the one written here."""

import difflib
import hashlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pipeline.models import libraries, squeezenet
from pipeline.models.errors import ModelError, in_words, unknown
from pipeline.models.transform import Transform

OWN: Final = {"squeezenet1_0-caffe": (squeezenet.SqueezeNet, squeezenet.TRANSFORM)}


@dataclass(frozen=True)
class Family:
    """How one library names, builds and prepares its networks.

    build(identifier, pretrained) : the module; `pretrained` lets the library fetch its own weights.
    transform(identifier, module) : what the library declares for it.
    cached(identifier) : whether its own weights are on this machine already.
    names() : identifiers it is known to build; none where they cannot be listed.
    """

    build: Callable[[str, bool], nn.Module]
    transform: Callable[[str, nn.Module], Transform]
    cached: Callable[[str], bool]
    names: Callable[[], list[str]] = list


def split(name: str) -> tuple[str, str]:
    """`family:identifier` -> its two parts; ("", name) for a network written here. Raises ModelError."""
    family, colon, identifier = name.partition(":")
    if name in OWN:
        return "", name
    if family and identifier and family in FAMILIES:
        return family, identifier
    wanted = (identifier if colon else name).lower()
    near = _near(wanted) if wanted else []
    offer = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    ways = ", ".join(f"{known}:..." for known in FAMILIES if known)
    raise ModelError(f"unknown network {name!r}{offer} A network is named {ways} or {', '.join(OWN)}.")


def _near(wanted: str) -> list[str]:
    """Whole names of networks that are called `wanted`, or nearly so where none is."""
    bare = {name: name for name in OWN}
    for prefix, family in FAMILIES.items():
        with suppress(ModelError):  # a library that is not installed has nothing to offer
            bare |= {f"{prefix}:{name}": name for name in family.names()}
    called = difflib.get_close_matches(wanted, set(bare.values()), n=3, cutoff=0.75)
    called = [wanted] if wanted in called else called
    return [whole for one in called for whole, name in bare.items() if name == one]


def family_of(name: str) -> Family:
    """The family that builds `name`."""
    return FAMILIES[split(name)[0]]


def python_file(identifier: str) -> tuple[Path, str]:
    """`path/to/file.py:function` -> both parts. Raises ModelError where the file is not there."""
    path, colon, function = identifier.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ModelError(f"'python:{identifier}' names no function; write python:path/to/file.py:build")
    if not (file := Path(path).expanduser()).is_file():
        raise ModelError(f"no file {path} (asked for by 'python:{identifier}')")
    return file, function


def _python_result(identifier: str) -> tuple[Any, str]:
    """What the function gives, and the SHA-256 of the very source that ran.

    Python's own import may run bytecode of an earlier source of the same size, written in the same second.
    """
    path, name = python_file(identifier)
    source = path.read_bytes()
    sha256 = hashlib.sha256(source).hexdigest()
    # Named by its bytes, so that an edited file is a new module and two files of one name do not mix.
    module_name = f"neurocube_{path.stem}_{sha256[:12]}"
    module = types.ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up here
    with _told(f"{path} cannot be imported"):
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 (the user's own)
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if name not in functions:
        raise unknown(f"function in {path}", name, functions)
    with _told(f"{path} fails in {name}()"):
        return getattr(module, name)(), sha256


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise a ModelError for whatever a user's own file raises; where in it, the traceback knows."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what}: {in_words(error)} (--debug shows where)") from error


def _python(identifier: str, pretrained: bool) -> nn.Module:
    if pretrained:
        raise ModelError(
            f"'python:{identifier}' has no registry to fetch from; load its weights in that function"
        )
    result, sha256 = _python_result(identifier)
    module, transform = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(module, nn.Module):
        raise ModelError(f"'python:{identifier}' returned {type(module).__name__}; wanted a torch.nn.Module")
    _refuse_module(module, identifier)
    if isinstance(transform, Mapping):
        transform = Transform.of(transform)
    if not isinstance(transform, Transform | None):
        raise ModelError(f"'python:{identifier}' gives {transform!r} as its transform; wanted a dict")
    module.__dict__["_declared_transform"] = transform
    module.__dict__["_source_sha256"] = sha256
    return module


def _refuse_module(module: nn.Module, identifier: str) -> None:
    """Raise ModelError where the layers or weights of `module` cannot be seen from outside."""
    if any(isinstance(child, torch.jit.ScriptModule) for child in module.modules()):
        raise ModelError(f"'python:{identifier}' returned TorchScript, whose layers cannot be tapped")
    tensors = [*module.named_parameters(), *module.named_buffers()]
    if lazy := [name for name, tensor in tensors if is_lazy(tensor)]:
        raise ModelError(
            f"'python:{identifier}' returned weights without a shape: {', '.join(lazy)}; "
            "say it, or run the network once before it is returned"
        )


def _python_transform(identifier: str, module: nn.Module) -> Transform:
    transform = module.__dict__.get("_declared_transform")
    if not isinstance(transform, Transform):
        raise ModelError(
            f"'python:{identifier}' declares no transform; return (module, dict(resize=..., crop=..., "
            "mean=..., std=...)), or give `transform` beside the network"
        )
    return transform


def _own(identifier: str, pretrained: bool) -> nn.Module:
    if pretrained:
        raise ModelError(f"{identifier} has no registry to fetch from; give the path of its weights file")
    return OWN[identifier][0]()


FAMILIES: Final[Mapping[str, Family]] = {
    "torchvision": Family(
        libraries.torchvision,
        libraries.torchvision_transform,
        libraries.torchvision_cached,
        libraries.torchvision_names,
    ),
    "timm": Family(libraries.timm, libraries.timm_transform, libraries.timm_cached, libraries.timm_names),
    "transformers": Family(
        libraries.transformers, libraries.transformers_transform, libraries.transformers_cached
    ),
    "python": Family(_python, _python_transform, lambda _: False),
    "": Family(_own, lambda identifier, _: OWN[identifier][1], lambda _: False),
}
