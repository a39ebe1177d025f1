"""Sources for the tests of filling: importable, so that worker processes find them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.fill import Block


@dataclass(frozen=True)
class Where:
    """Values that encode their own place; notes each computed block, and by which process, in `log`."""

    shape: tuple[int, ...]
    log: str
    factor: float = 1.0
    pause: float = 0.0
    kill_once: str = ""

    def __call__(self, block: Block):
        for name, region in block.regions.items():
            with Path(self.log).open("a") as file:
                file.write(f"{name} {[part.start for part in region]} {os.getpid()}\n")
            time.sleep(self.pause)
            if self.kill_once and not (mark := Path(self.kill_once)).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield name, self.factor * places(self.shape)[region]


def places(shape):
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


@dataclass(frozen=True)
class Breaks:
    """A source that fails."""

    def __call__(self, block: Block):
        raise ZeroDivisionError("no such values")
        yield
