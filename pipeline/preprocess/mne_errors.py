"""MNE kept quiet and to one BLAS thread, and its errors told as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mne

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
    """Inside, MNE says nothing below an error, and its errors become InputErrors that name the recording.

    BLAS uses one thread, so that a notebook and a worker give the same bits.

    what : the step, as in "Maxwell filter".
    """
    try:
        with mne.utils.use_log_level("error"), one_blas_thread():
            yield
    except StoreError:
        raise
    except (ValueError, RuntimeError, TypeError, KeyError, IndexError, OSError, EOFError) as error:
        raise InputError(f"{name_of(raw)}: {what}: {error}") from error
