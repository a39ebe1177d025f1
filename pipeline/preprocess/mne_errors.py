"""MNE kept quiet and to one BLAS thread, and its errors told as ours."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mne
from sklearn.exceptions import ConvergenceWarning

from pipeline.blocks import one_blas_thread
from stores.errors import InputError, StoreError


def name_of(raw: Any) -> str:
    """The recording's file (or `raw` itself, if it is a path), or what stands for it where it has none."""
    if isinstance(raw, Path):
        return str(raw)
    names = [str(one) for one in getattr(raw, "filenames", ()) if one is not None]
    return names[0] if names else "the recording in memory"


@contextmanager
def quiet(what: str, raw: Any) -> Iterator[None]:
    """Inside, MNE says nothing, and its errors become InputErrors that name the recording.

    BLAS uses one thread, so that a notebook and a worker give the same bits.
    what : the step, as in "Maxwell filter".
    """
    try:
        with silence(), one_blas_thread():
            yield
    except StoreError:
        raise
    except (ValueError, RuntimeError, TypeError, KeyError, IndexError, OSError, EOFError) as error:
        raise InputError(f"{name_of(raw)}: {what}: {error}") from error


@contextmanager
def silence() -> Iterator[None]:
    """Inside, MNE says nothing (its errors are raised), and whether ICA converged is left to its record.

    Log level and warning filters are the process's own. Threads that each set and restored them would leave
    behind what another one had set, so the first to come sets them and the last to leave restores them.
    """
    with _held.lock:
        if not _held.count:
            _held.undo = ExitStack()
            _held.undo.enter_context(mne.utils.use_log_level("error"))
            _held.undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", ConvergenceWarning)
            # MNE lowers its log level for moments, in which another thread would speak.
            warnings.filterwarnings("ignore", module="mne")
            _held.undo.callback(setattr, mne.utils.logger, "disabled", mne.utils.logger.disabled)
            mne.utils.logger.disabled = True
        _held.count += 1
    try:
        yield
    finally:
        with _held.lock:
            _held.count -= 1
            if not _held.count:
                _held.undo.close()


@dataclass
class _Held:
    """How many threads want silence, and how to end it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    undo: ExitStack = field(default_factory=ExitStack)


_held = _Held()
