"""How the command ends where something fails: one paragraph, an exit code, a traceback only where asked for."""

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from types import FrameType

from rich.console import Console

from stores import StoreError


@contextlib.contextmanager
def told(debug: bool) -> Iterator[None]:
    """Turn what a user can mend into one paragraph and exit code 2; with `debug`, into its traceback and 2."""
    try:
        yield
    except Exception as fault:
        if not (words := paragraph(fault)):
            raise
        if debug:
            traceback.print_exc()
        say(words)
        sys.exit(2)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C into one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        sys.exit(130)


def say(words: str) -> None:
    """Print a message beside the output."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"neurocube: {words}", markup=False)


def paragraph(fault: Exception) -> str:
    """What a user needs to know of `fault`; empty where it is a fault of the program."""
    if isinstance(fault, _mistakes()):
        return str(fault)
    if _damaged(fault):
        return (
            f"data of the store are damaged ({fault}); `neurocube verify ROOT` reads the whole store "
            "ROOT and lists what is. Restore that, or make it again with --overwrite."
        )
    if _frames(fault, "fsspec"):
        return (
            f"the store cannot be reached: {fault or type(fault).__name__}. Check its address, the network "
            "and the credentials in the environment."
        )
    if isinstance(fault, OSError):
        return f"the system refused: {fault or type(fault).__name__}. --debug shows where."
    return ""


def _damaged(fault: Exception) -> bool:
    """Whether `fault` came up while stored bytes were decoded: Zarr has no error of its own for that."""
    decoding = [*_frames(fault, "zarr"), *_frames(fault, "numcodecs")]
    return isinstance(fault, ValueError | RuntimeError) and any(
        "decode" in one.f_code.co_name for one in decoding
    )


def _frames(fault: Exception, package: str) -> list[FrameType]:
    """The frames of `package` that `fault` passed; also of another process, from which only names arrive."""
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    return [one for one in frames if package in PurePath(one.f_code.co_filename).parts]


def _mistakes() -> tuple[type[Exception], ...]:
    """Errors whose text is all a user needs."""
    from pipeline.cluster import ClusterError
    from pipeline.errors import VerbError
    from pipeline.models import ModelError
    from pipeline.study import StudyError

    return StoreError, ModelError, ClusterError, StudyError, VerbError
