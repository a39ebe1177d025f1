"""Computation: lazy functions from cubes to labelled results, and the one writer of big cubes."""

import runpy
from pathlib import Path

# The guard runs by its path: `import stores` may be just what a foreign package would answer.
runpy.run_path(str(Path(__file__).resolve().parents[1] / "stores" / "guard.py"))["require_own"]("stores")
