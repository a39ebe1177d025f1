"""One extraction task: decode a block of stimuli in threads, run the network, give the values of every layer.

The batch size is fixed and the last batch padded with black pictures, and every batch begins at a multiple of
it: what a stimulus is given depends neither on how blocks are cut nor on how many stimuli there are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import distributed
import numpy as np
import numpy.typing as npt
import torch

from pipeline.fill import GPU, Block
from pipeline.models import Network, NetworkSpec, Transform, activations, build, find
from stores.stimuli import Picture, Stimuli

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class ActivationSource:
    """The pure function from a block of stimuli to what the layers answer; small, and the same everywhere.

    taps : layer of each cube.  fingerprint : of the network the cubes were created for.
    """

    stimuli: Stimuli
    network: NetworkSpec
    fingerprint: str
    taps: Mapping[str, str]
    batch_size: int
    dtype: Dtype
    decode_threads: int | None = None

    def __call__(self, block: Block) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield (cube name, (stimulus, unit, 1, 1)) for every cube of the block."""
        network = build(self.network, device())
        if network.fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.network.name} is another network on this worker than where the run began (fingerprint "
                f"{network.fingerprint[:12]}, wanted {self.fingerprint[:12]}): its weights or its library differ"
            )
        span = next(iter(block.regions.values()))[0]
        values = self.values(network, span, [self.taps[name] for name in block.regions])
        for name in block.regions:
            yield name, values.pop(self.taps[name])[:, :, None, None]

    def values(self, network: Network, span: slice, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """(stimulus, unit) of each layer for the stimuli of `span`."""
        shapes = {info.name: info.shape for info in find(network, names)}
        count = span.stop - span.start
        out = {name: np.empty((count, math.prod(shapes[name])), self.dtype) for name in names}
        done = 0
        for pixels, rows in self._batches(network, span):
            found = activations(network, network.transform.values(pixels.to(network.device)), names)
            for name in names:
                _store(out[name][done : done + rows], found[name], name)
            done += rows
        return out

    def _batches(self, network: Network, span: slice) -> Iterator[tuple[torch.Tensor, int]]:
        """(batch, h, w, channels) uint8, and how many of it are real; the next one decodes meanwhile."""
        starts = range(span.start, span.stop, self.batch_size)
        with ThreadPoolExecutor(self.decode_threads or torch.get_num_threads()) as pool:

            def begin(start: int) -> "list[Future[npt.NDArray[np.uint8]]]":
                pictures = self.stimuli.pictures(start, min(start + self.batch_size, span.stop))
                return [pool.submit(_prepared, network.transform, picture) for picture in pictures]

            ahead = begin(starts[0])
            for start in starts:
                present, ahead = ahead, begin(start + self.batch_size) if start != starts[-1] else []
                pixels = torch.zeros(
                    self.batch_size,
                    *network.transform.size,
                    network.transform.stored_channels,
                    dtype=torch.uint8,
                )
                for row, future in enumerate(present):
                    pixels.numpy()[row] = future.result()
                yield pixels, len(present)


def _prepared(transform: Transform, picture: Picture) -> npt.NDArray[np.uint8]:
    return transform.pixels(picture())


def device() -> str:
    """`cuda` on a worker that offers the resource `GPU` and has one; else `cpu`."""
    try:
        offered = distributed.get_worker().state.total_resources.get(GPU, 0)
    except ValueError:  # no worker: this is the caller's own process
        return "cpu"
    return "cuda" if offered and torch.cuda.is_available() else "cpu"


def _store(rows: npt.NDArray[Any], found: torch.Tensor, name: str) -> None:
    """Copy the first `len(rows)` answers into `rows`. Raises ValueError where float16 cannot hold one."""
    values = found[: len(rows)].reshape(len(rows), -1).cpu().numpy()
    try:
        with np.errstate(over="raise"):
            rows[:] = values
    except FloatingPointError:
        raise ValueError(
            f"layer {name!r} answers up to {np.abs(values).max():.3g}, more than {rows.dtype} holds; "
            "use dtype float32"
        ) from None
