"""A network ready to be read from, and the small record from which any process can build the same one."""

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import nn

from pipeline.models import weights as weights_files
from pipeline.models.errors import ModelError, in_words, unknown
from pipeline.models.families import family_of, python_file, split
from pipeline.models.taps import LayerInfo, listen, trace
from pipeline.models.transform import Transform

Precision = Literal["float32", "bfloat16", "tf32"]
PRECISIONS: Final = ("float32", "bfloat16", "tf32")
"""float32 is the reference; the others are faster, differ by up to a percent, and are stamped."""


@dataclass(frozen=True)
class NetworkSpec:
    """All that decides a network, small and picklable: it is what travels to a worker, never the network.

    weights : path of a weights file, "pretrained" (the library fetches its own), or None.
    untrained_seed : seed of an untrained twin; None where trained.
    files : (path, SHA-256) of every local file it is made from; checked again where it is built.
    override : fields of the transform that replace the declared ones.
    """

    name: str
    weights: str | None = None
    untrained_seed: int | None = None
    files: tuple[tuple[str, str], ...] = ()
    override: tuple[tuple[str, Any], ...] = ()
    precision: Precision = "float32"

    @property
    def label(self) -> str:
        """A name without separators, for cubes: `alexnet`, `alexnet-untrained-0`."""
        family, identifier = split(self.name)
        if family == "python":
            path, function = python_file(identifier)
            identifier = f"{path.stem}-{function}"
        elif Path(identifier).is_dir():
            identifier = Path(identifier).resolve().name
        twin = "" if self.untrained_seed is None else f"-untrained-{self.untrained_seed}"
        return re.sub(r"[^\w.@-]+", "-", identifier).strip("-.") + twin


@dataclass(frozen=True, eq=False)
class Network:
    """A module in eval mode on its device, its transform, and the fingerprint of both.

    fingerprint : SHA-256 over architecture, every parameter and buffer, and the transform. It holds no path
    and no device, so the same network has the same one everywhere.
    """

    spec: NetworkSpec
    module: nn.Module
    transform: Transform
    fingerprint: str
    device: torch.device
    steady: set[str] = field(default_factory=set)
    """Layers of which `require_steady` has made sure."""

    @cached_property
    def calls(self) -> tuple[LayerInfo, ...]:
        """Every tap, in order of execution, found by one pass of empty images."""
        return trace(self)


def network_spec(
    name: str,
    *,
    weights: str | Path | None = None,
    untrained_seed: int | None = None,
    transform: Transform | Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> NetworkSpec:
    """Check the words that name a network and hash the files they point to; builds nothing.

    Raises ModelError: unknown name (near matches offered), absent file, weights given to an untrained twin.
    """
    family, identifier = split(name)
    if weights is not None and untrained_seed is not None:
        raise ModelError(
            f"{name}: an untrained twin takes no weights; give `weights` or `untrained_seed`, not both"
        )
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    files = []
    # Whole paths: a worker that builds the network may have been started in another folder.
    if family == "python":
        path, function = python_file(identifier)
        files.append(path.absolute())
        name = f"python:{files[0]}:{function}"
    elif family == "transformers" and (folder := Path(identifier).expanduser()).is_dir():
        name = f"transformers:{folder.absolute()}"
    if weights is not None and str(weights) != weights_files.PRETRAINED:
        weights = Path(weights).expanduser().absolute()
        if not weights.is_file():
            raise ModelError(f"{name}: no weights file {weights}")
        files.append(weights)
    fields = transform.as_dict() if isinstance(transform, Transform) else transform or {}
    return NetworkSpec(
        name,
        None if weights is None else str(weights),
        untrained_seed,
        tuple((str(path), weights_files.file_sha256(path)) for path in files),
        tuple(sorted(Transform.checked(fields).items())),
        precision,  # type: ignore[arg-type]  # checked above
    )


def load(
    name: str,
    *,
    weights: str | Path | None = None,
    untrained_seed: int | None = None,
    transform: Transform | Mapping[str, Any] | None = None,
    precision: str = "float32",
    device: str = "cpu",
) -> Network:
    """The network `name`: `torchvision:alexnet`, `timm:resnet50`, `transformers:<id or folder>`,
    `python:path/to/file.py:build`, or `squeezenet1_0-caffe`.

    weights : a file (.npz, .safetensors, .pt), or "pretrained" to let the library fetch its own. Without it,
    the library's own weights are taken where they are on this machine already.
    untrained_seed : an untrained twin instead: the same architecture, initialised from this seed alone.
    transform : fields that replace the declared ones. Raises ModelError.
    """
    return build(
        network_spec(
            name,
            weights=weights,
            untrained_seed=untrained_seed,
            transform=transform,
            precision=precision,
        ),
        device,
    )


_building = threading.Lock()  # construction draws from the process's one generator of random numbers


def build(spec: NetworkSpec, device: str = "cpu") -> Network:
    """The network of `spec`, built once per process and kept (the last two of them). Raises ModelError."""
    with _building:
        return _built(spec, device)


@lru_cache(maxsize=2)
def _built(spec: NetworkSpec, device: str) -> Network:
    for path, wanted in spec.files:
        if not Path(path).is_file():
            raise ModelError(f"{spec.name}: {path} is not on this machine")
        if (there := weights_files.file_sha256(Path(path))) != wanted:
            raise ModelError(
                f"{spec.name}: {path} has changed (SHA-256 {there[:12]}, was {wanted[:12]}); start again"
            )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.untrained_seed or 0)
        module = _module(spec)
    _refuse_unregistered(spec, module)
    module = module.eval().requires_grad_(False).float()
    transform = _transform(spec, module)
    architecture = _architecture(spec, module)
    fingerprint = _fingerprint(architecture, module, transform)
    listen(module)
    return Network(spec, module.to(device), transform, fingerprint, torch.device(device))


def _refuse_unregistered(spec: NetworkSpec, module: nn.Module) -> None:
    """Raise ModelError for values that torch does not know of: fingerprint and weights files pass them by."""
    known = {id(one) for one in (*module.modules(), *module.parameters(), *module.buffers())}
    found = [
        ".".join((*filter(None, [name]), key))
        for name, child in module.named_modules()
        for key, value in vars(child).items()
        if any(id(one) not in known for one in _inside(value))
    ]
    if found:
        raise ModelError(
            f"{spec.name} keeps weights or layers where torch does not see them: {', '.join(found)}; make each a "
            "Parameter, a buffer (register_buffer), an nn.ModuleList or an nn.ModuleDict"
        )


def _inside(value: object) -> Iterator[object]:
    """Arrays and modules of an attribute, also within lists, tuples, sets and mappings."""
    if isinstance(value, torch.Tensor | np.ndarray | nn.Module):
        yield value
    elif isinstance(value, list | tuple | set | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _inside(one)


def _module(spec: NetworkSpec) -> nn.Module:
    family, (prefix, identifier) = family_of(spec.name), split(spec.name)
    if spec.untrained_seed is not None or (prefix == "python" and spec.weights is None):
        return family.build(identifier, False)
    if spec.weights == weights_files.PRETRAINED or (spec.weights is None and family.cached(identifier)):
        return _fetched(spec, identifier)
    if spec.weights is None:
        raise ModelError(
            f"{spec.name} has no weights on this machine, and nothing is downloaded unasked: give `weights` "
            f"(a file, or {weights_files.PRETRAINED!r} to let the library fetch its own), or `untrained_seed`"
        )
    module = family.build(identifier, False)
    weights_files.fill(module, weights_files.read(Path(spec.weights)), spec.weights)
    return module


def _fetched(spec: NetworkSpec, identifier: str) -> nn.Module:
    try:
        return family_of(spec.name).build(identifier, True)
    except ModelError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a failed download is any of these, by library
        raise ModelError(
            f"{spec.name}: the library could not fetch its weights ({in_words(error)}); check the connection, or "
            "download the file elsewhere and give its path as `weights`"
        ) from error


def _transform(spec: NetworkSpec, module: nn.Module) -> Transform:
    try:
        declared = family_of(spec.name).transform(split(spec.name)[1], module)
    except ModelError:
        if not spec.override:
            raise
        declared = None  # the study says it all
    return Transform.of(dict(spec.override), declared)


def _architecture(spec: NetworkSpec, module: nn.Module) -> str:
    """The module in words, without places on disk or in memory, and the hash of the file that defines it."""
    family = split(spec.name)[0]
    source = module.__dict__["_source_sha256"] if family == "python" else ""
    return "\n".join((family, source, re.sub(r" at 0x[0-9a-f]+", "", repr(module))))


def _fingerprint(architecture: str, module: nn.Module, transform: Transform) -> str:
    digest = hashlib.sha256(json.dumps([architecture, transform.as_dict()]).encode())
    for name, tensor in _tensors(module):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(module: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
