"""Stimuli and a network in, one activation cube per layer out: `activations/<network>/<layer>`."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline.extract_task import ActivationSource, Dtype
from pipeline.fill import Block, Client, Progress, fill
from pipeline.models import LayerInfo, ModelError, Network, NetworkSpec, build, find, require_steady
from pipeline.plan import IDLE_BYTES
from stores.create import writing
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.layout import stimulus_block
from stores.specs import ACTIVATIONS
from stores.stimuli import Stimuli, cut
from stores.target import Target

VERSION: Final = 1
"""Raised whenever the same inputs would give other values: it is part of every content key."""
TORCH_BYTES: Final = 190 * 10**6
"""What a worker holds beside `IDLE_BYTES` once torch is loaded, as measured."""
BATCHES_AT_MOST: Final = 4
"""Batches in one task, so that a few hundred stimuli already keep several workers busy."""


@dataclass(frozen=True)
class Extraction:
    """What `extract` made: the cube of each layer, by the layer's name, and how many tasks that took."""

    cubes: Mapping[str, str]
    tasks: int


def extract(
    stimuli: Stimuli,
    network: NetworkSpec,
    layers: Sequence[str],
    root: Any,
    *,
    label: str | None = None,
    batch_size: int = 16,
    dtype: Dtype = "float32",
    threads: int | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Extraction:
    """Make the activation cubes of `layers`, as far as they are not there yet, and complete them.

    layers : exact names, as `pipeline.models.layers` lists them.  label : the network's name in the cubes.
    threads : of one task; as many as torch is set to where not given (one, on a worker of Dask).
    client : tasks run on its workers, on those with the resource `GPU` where any has it; else here.
    Raises ModelError (unknown or unsteady layer, weights, images smaller than the crop), KeyMismatchError,
    LockedError, InputError.
    """
    if not layers:
        raise ValueError(
            f"no layers of {network.name} were named; `neurocube layers {network.name}` lists them"
        )
    if batch_size < 1 or dtype not in ("float32", "float16"):
        raise ValueError(
            f"batch_size {batch_size} and dtype {dtype!r}: wanted at least 1, float32 or float16"
        )
    built, label = build(network), label or network.label
    infos = find(built, layers)
    _refuse_small(stimuli, built)
    require_steady(built, layers)
    cubes = {f"activations/{label}/{info.name}": info for info in infos}
    block = block_size(infos, len(stimuli.ids), batch_size, dtype)
    with ExitStack() as stack:
        targets = {
            name: stack.enter_context(
                writing(
                    root,
                    name,
                    template(stimuli, built, info, label, dtype),
                    made_from=made_from(stimuli, built, info, batch_size, dtype),
                    access="stimulus",
                    stimuli=block,
                    overwrite=overwrite,
                )
            )
            for name, info in cubes.items()
        }
        taps = {name: info.name for name, info in cubes.items()}
        source = ActivationSource(stimuli, network, built.fingerprint, taps, batch_size, dtype, threads)
        tasks = fill(
            targets,
            blocks(targets),
            source,
            label=f"extract-{label}",
            client=client,
            gpu=True,
            progress=progress,
        )
    return Extraction({info.name: name for name, info in cubes.items()}, tasks)


def _refuse_small(stimuli: Stimuli, network: Network) -> None:
    """Raise ModelError naming every picture that is smaller than the network's crop."""
    pictures, wanted = zip(stimuli.ids, stimuli.sizes, strict=True), network.transform.size
    small = [f"{name} ({h} x {w})" for name, (h, w) in pictures if not network.transform.fits((h, w))]
    if small:
        raise ModelError(
            f"{len(small)} of {len(stimuli.ids)} images are smaller than the centre crop "
            f"{wanted[0]} x {wanted[1]} of {network.spec.name}:\n  - "
            + "\n  - ".join(cut(small))
            + "\nGive the transform a `resize`, or leave them out."
        )


def made_from(
    stimuli: Stimuli, network: Network, layer: LayerInfo, batch_size: int, dtype: str
) -> dict[str, Any]:
    """All that decides the values of one layer's cube: its content key hashes this."""
    return {
        "step": "extract",
        "version": VERSION,
        "stimuli": {"count": len(stimuli.ids), "sha256": stimuli.digest},
        "network": {"name": network.spec.label, "fingerprint": network.fingerprint},
        "transform": network.transform.as_dict(),
        "layer": layer.name,
        "precision": network.spec.precision,
        "batch_size": batch_size,
        "dtype": dtype,
    }


def block_size(layers: Sequence[LayerInfo], stimuli: int, batch_size: int, dtype: str) -> int:
    """Stimuli per task: whole batches, as many as keep what a task holds near one shard budget."""
    held = sum(math.prod(info.shape) for info in layers) * np.dtype(dtype).itemsize * batch_size
    return min(batch_size * stimulus_block(held, BATCHES_AT_MOST), stimuli)


def task_bytes(layers: Sequence[LayerInfo], block: int, batch_size: int, dtype: str, threads: int = 1) -> int:
    """Bytes one task holds for its values: the block in `dtype`, and in float32 one batch per thread."""
    values = sum(math.prod(info.shape) for info in layers)
    return values * (block * np.dtype(dtype).itemsize + threads * batch_size * 4)


def worker_bytes(network: Network, task: int, threads: int = 1) -> int:
    """Bytes of a worker that holds `network` and runs `threads` tasks of `task` bytes at a time."""
    tensors = [*network.module.parameters(), *network.module.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return IDLE_BYTES + TORCH_BYTES + weights + threads * task


def blocks(targets: Mapping[str, Target]) -> list[Block]:
    """Blocks of stimuli that cut no shard of any target that is still to be filled."""
    open_targets = [target for target in targets.values() if not target.complete]
    if not open_targets:
        return []
    stimuli = open_targets[0].shape[0]
    # Equal, unless an earlier run of other layers was killed: then the least common multiple suits all.
    step = math.lcm(*(target.shard[0] for target in open_targets))
    return [
        Block(
            {
                t.name: (slice(i, min(i + step, stimuli)), *map(slice, (0, 0, 0), t.shape[1:]))
                for t in open_targets
            }
        )
        for i in range(0, stimuli, step)
    ]


def template(stimuli: Stimuli, network: Network, layer: LayerInfo, label: str, dtype: str) -> xr.DataArray:
    """The cube of one layer without its values: (stimulus, unit, 1, 1)."""
    ids, places = units(layer.shape)
    shape = (len(stimuli.ids), len(ids), 1, 1)
    attrs: dict[str, Any] = {
        "modality": ACTIVATIONS.name,
        "quantity": "activation",
        "units": "a.u.",
        "network": label,
        "layer": layer.name,
        "layer_type": layer.type,
        "network_name": network.spec.name,
        "weights": _weights_in_words(network.spec),
    }
    if skipped := getattr(stimuli, "skipped", ()):
        attrs["skipped"] = [f"{file}: {reason}" for file, reason in skipped]
    coords = {name: (STIMULUS, np.asarray(values)) for name, values in stimuli.coords().items()}
    return xr.DataArray(
        dask.array.zeros(shape, dtype=dtype, chunks=shape),
        dims=CUBE,
        coords={
            STIMULUS: np.array(stimuli.ids, object),
            UNIT: np.array(ids, object),
            TIME: np.zeros(1),
            REPEAT: np.arange(1),
            **coords,
            **{name: (UNIT, values) for name, values in places.items()},
        },
        attrs=attrs,
    )


def units(shape: tuple[int, ...]) -> tuple[list[str], dict[str, npt.NDArray[np.int32]]]:
    """Ids of a layer's units, in C order, and their places.

    (channel,) -> `u00012`; (token, channel) -> `t003_c0012`; a feature map -> `c012_r03_k07` (row, column).
    A map is (channel, row, col), or (row, col, channel) where only its first two sides are equal.
    """
    axes: tuple[tuple[str, str], ...] = (("token", "t"), ("channel", "c"))
    if len(shape) == 3:
        last = shape[0] == shape[1] != shape[2]
        axes = (
            (("row", "r"), ("col", "k"), ("channel", "c"))
            if last
            else (("channel", "c"), ("row", "r"), ("col", "k"))
        )
    elif len(shape) != 2:
        return [f"u{i:05d}" for i in range(math.prod(shape))], {}
    parts = [
        [f"{letter}{i:0{len(str(n - 1))}d}" for i in range(n)]
        for (_, letter), n in zip(axes, shape, strict=True)
    ]
    ids = parts[0]
    for more in parts[1:]:
        ids = [f"{head}_{tail}" for head in ids for tail in more]
    places = np.indices(shape, dtype=np.int32).reshape(len(shape), -1)
    return ids, {name: place for (name, _), place in zip(axes, places, strict=True)}


def _weights_in_words(spec: NetworkSpec) -> str:
    if spec.untrained_seed is not None:
        return f"untrained, seed {spec.untrained_seed}"
    return ", ".join(path.rpartition("/")[2] for path, _ in spec.files) or "pretrained"
