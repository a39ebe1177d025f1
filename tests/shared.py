"""Real data and reference vectors, which lie beside the checkout and are never copied into it."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[1].parent / "shared"


def shared(relative: str) -> Path:
    """The file or folder `relative` of the shared data; the test is skipped where it is not there.

    Looks in the folder that NEUROCUBE_SHARED names, else in `shared` beside the checkout.
    """
    root = Path(os.environ.get("NEUROCUBE_SHARED") or BESIDE)
    if not (path := root / relative).exists():
        pytest.skip(f"{relative} is not in {root}; set NEUROCUBE_SHARED to the folder that holds it")
    return path
