"""Reading values from inside a network: which layers there are, and what they answer, in one pass.

A tap is named as torch names the module (`features.0`, `layer1.0.relu`), and reads the value the module
returns: conv before its ReLU, ReLU after. A container is a tap where it yields a tensor; the network's own
answer is `output`. A module that runs several times in one pass (one ReLU object used thrice in a residual
block) is tapped once per run as `name@1`, `name@2`, ...; its bare name is refused.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from pipeline.models.arithmetic import arithmetic
from pipeline.models.errors import ModelError, in_words, unknown

if TYPE_CHECKING:
    from pipeline.models.network import Network

OUTPUT: Final = "output"
"""The name of the whole network's answer (unless a module has taken it)."""
PRIMARY: Final = ("last_hidden_state", "logits", "pooler_output")
"""What is read from an answer with named parts, the first that is there."""
STEADY: Final = 1e-2
"""What rounding may do to a layer's answer, in parts of its norm; bfloat16 comes nearest to it."""

_local = threading.local()  # `collect`: the listener of the pass that this thread is running, if any


@dataclass(frozen=True)
class LayerInfo:
    """One tap: its name, the class of its module, and the shape of its value for one stimulus."""

    name: str
    type: str
    shape: tuple[int, ...]


class _Finished(Exception):  # noqa: N818 (not an error: the last tap has been read)
    pass


def listen(module: nn.Module) -> None:
    """Let every module report what it returns. The hooks stay, and are silent outside a pass of this thread.

    Adding and removing hooks for each pass would race with passes of other threads over the same network.
    """
    children = [(name, child) for name, child in module.named_modules() if name]
    taken = any(name == OUTPUT for name, _ in children)
    for name, child in [*children, *([] if taken else [(OUTPUT, module)])]:
        child.register_forward_hook(partial(_report, name))


def _report(name: str, module: nn.Module, args: object, output: object) -> None:  # noqa: ARG001
    if (collect := getattr(_local, "collect", None)) is not None:
        collect(name, module, output)


@contextmanager
def _collecting(collect: "Collect") -> Iterator[None]:
    _local.collect = collect
    try:
        yield
    except _Finished:
        pass
    finally:
        _local.collect = None


def primary(output: object) -> torch.Tensor | None:
    """The tensor meant by a module's answer: itself, its main named part, the first of a tuple; or None."""
    if isinstance(output, Mapping):
        output = next((output[key] for key in PRIMARY if output.get(key) is not None), None)
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def trace(network: "Network") -> tuple[LayerInfo, ...]:
    """All taps of `network` in order of execution, from one pass of two empty images.

    Two, because a value whose first axis is not 2 then is not one row per stimulus (windows, position
    tables): such modules are no taps. Raises ModelError where the network does not take its declared input.
    """
    found: list[tuple[str, str, tuple[int, ...]]] = []

    def collect(name: str, module: nn.Module, output: object) -> None:
        value = primary(output)
        if value is not None and value.ndim and value.shape[0] == 2:
            found.append((name, type(module).__name__, tuple(value.shape[1:])))

    transform = network.transform
    empty = torch.zeros(2, transform.channels, *transform.size, device=network.device)
    _forward(network, empty, collect)
    runs, seen, layers = Counter(name for name, _, _ in found), Counter[str](), []
    for name, kind, shape in found:
        seen[name] += 1
        layers.append(LayerInfo(f"{name}@{seen[name]}" if runs[name] > 1 else name, kind, shape))
    return tuple(layers)


def layers(network: "Network") -> list[LayerInfo]:
    """Every tap of `network` with its type and shape, in order of execution."""
    return list(network.calls)


def find(network: "Network", names: Iterable[str]) -> list[LayerInfo]:
    """The taps of these exact names. Raises ModelError for unknown (near match told) and repeated ones."""
    known = {layer.name: layer for layer in network.calls}
    wanted = list(names)
    for name in wanted:
        if f"{name}@1" in known:
            runs = [other for other in known if other.rpartition("@")[0] == name]
            raise ModelError(
                f"layer {name!r} of {network.spec.name} runs {len(runs)} times; name one of {runs}"
            )
        if name not in known:
            hint = f"(`neurocube layers {network.spec.name}` lists all {len(known)})"
            raise unknown(f"layer of {network.spec.name}", name, known, hint)
    if twice := [name for name, count in Counter(wanted).items() if count > 1]:
        raise ModelError(f"layers named twice: {twice}")
    return [known[name] for name in wanted]


def require_steady(network: "Network", names: Sequence[str]) -> None:
    """Raise ModelError where a layer's answer to a picture depends on chance or on the rest of its batch.

    One of three pictures is given twice, each time in another place and beside another one, which is black in
    the end, as those that fill the last batch are.
    """
    if not (names := [name for name in names if name not in network.steady]):
        return
    transform = network.transform
    pixels = np.random.default_rng(0).integers(0, 256, (3, *transform.stored_shape), dtype=np.uint8)
    pixels[2] = 0
    batch = transform.values(torch.from_numpy(pixels).to(network.device))
    last, first = activations(network, batch[:2], names), activations(network, batch[1:], names)
    loose = [
        name for name in names if (last[name][1] - first[name][0]).norm() > STEADY * last[name][1].norm()
    ]
    if loose:
        raise ModelError(
            f"{network.spec.name}: layers {loose} answer the same picture differently from pass to pass, or "
            "beside other pictures (dropout, or statistics of the batch); make them inactive in eval mode"
        )
    network.steady.update(names)


def activations(network: "Network", batch: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """What each tap answers to `batch`: name -> float32 (n, ...) on the network's device, in one pass.

    batch : (n, channels, height, width) float32 after the transform. Values are copied the moment a module
    returns them, so a later in-place operation cannot reach them; the pass ends with the last tap wanted.
    Raises ModelError for unknown layers and when the batch does not fit in GPU memory.
    """
    wanted = {layer.name for layer in find(network, names)}
    values: dict[str, torch.Tensor] = {}
    seen = Counter[str]()

    def collect(name: str, module: nn.Module, output: object) -> None:  # noqa: ARG001
        seen[name] += 1
        key = name if name in wanted else f"{name}@{seen[name]}"
        if key not in wanted:
            return
        value = primary(output)
        if value is None or value.shape[0] != len(batch):
            raise ModelError(f"layer {key!r} gave no row per stimulus for a batch of {len(batch)}")
        if value.is_complex():
            raise ModelError(f"layer {key!r} answers complex numbers; let a module give their size or parts")
        values[key] = value.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        if len(values) == len(wanted):
            raise _Finished

    _forward(network, batch, collect)
    return {name: values[name] for name in names}


Collect = Callable[[str, nn.Module, object], None]
"""Called with (module name, module, what it returned), in order of execution."""


def _forward(network: "Network", batch: torch.Tensor, collect: Collect) -> None:
    with torch.inference_mode(), arithmetic(network.spec.precision, network.device), _collecting(collect):
        try:
            network.module(batch)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{network.spec.name}: a batch of {len(batch)} does not fit in the memory of "
                f"{network.device}; set batch_size to {max(1, len(batch) // 2)} (a part of the content key)"
            ) from error
        except (_Finished, ModelError):
            raise
        except (Exception, SystemExit) as error:  # a network is somebody else's code
            raise ModelError(
                f"{network.spec.name} does not take a batch of {tuple(batch.shape)}: {in_words(error)}"
            ) from error
