"""One extraction task: decode a block of stimuli in threads, run the network, give the values of every layer.

The batch size is fixed and the last batch padded with black pictures, and every batch begins at a multiple of
it: what a stimulus is given depends neither on how blocks are cut nor on how many stimuli there are.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from pipeline.fill import Block, on_gpu_worker
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
    threads: int | None = None

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
        """(stimulus, unit) of each layer for the stimuli of `span`.

        On the CPU every thread takes whole batches, from file to values. A GPU takes the batches one by one,
        while threads decode the next.
        """
        shapes = {info.name: info.shape for info in find(network, names)}
        out = {
            name: np.empty((span.stop - span.start, math.prod(shapes[name])), self.dtype) for name in names
        }
        starts = range(span.start, span.stop, self.batch_size)

        def answer(start: int, pictures: Iterable[npt.NDArray[np.uint8]]) -> None:
            pixels = torch.zeros(self.batch_size, *network.transform.stored_shape, dtype=torch.uint8)
            for row, picture in enumerate(pictures):
                pixels.numpy()[row] = picture
            found = activations(network, network.transform.values(pixels.to(network.device)), names)
            rows = slice(start - span.start, min(start + self.batch_size, span.stop) - span.start)
            for name in names:
                _store(out[name][rows], found.pop(name), name)

        with ThreadPoolExecutor(self.threads or torch.get_num_threads()) as pool:
            if network.device.type == "cpu":
                list(pool.map(lambda start: answer(start, self._prepared(network, start, span.stop)), starts))
            else:
                for start, futures in zip(starts, self._ahead(network, starts, span.stop, pool), strict=True):
                    answer(start, (future.result() for future in futures))
        return out

    def _pictures(self, start: int, stop: int) -> Sequence[Picture]:
        return self.stimuli.pictures(start, min(start + self.batch_size, stop))

    def _prepared(self, network: Network, start: int, stop: int) -> Iterator[npt.NDArray[np.uint8]]:
        return (_prepare(network.transform, picture) for picture in self._pictures(start, stop))

    def _ahead(
        self, network: Network, starts: Sequence[int], stop: int, pool: ThreadPoolExecutor
    ) -> Iterator[Sequence["Future[npt.NDArray[np.uint8]]"]]:
        """The pictures of one batch after the other, decoding already; one batch ahead of the one given."""
        ahead: deque[Sequence[Future[npt.NDArray[np.uint8]]]] = deque()
        for start in starts:
            pictures = self._pictures(start, stop)
            ahead.append([pool.submit(_prepare, network.transform, picture) for picture in pictures])
            if len(ahead) > 1:
                yield ahead.popleft()
        yield from ahead


def _prepare(transform: Transform, picture: Picture) -> npt.NDArray[np.uint8]:
    return transform.pixels(picture())


def device() -> str:
    """`cuda` on a worker that offers the resource `GPU` and has one; else `cpu`."""
    return "cuda" if on_gpu_worker() and torch.cuda.is_available() else "cpu"


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
