#!/usr/bin/env python
"""What `neurocube` runs: first that `stores` and `pipeline` are neurocube's own, then the command itself.

It is installed as a script of its own, since a foreign `pipeline` would be imported before any word of ours.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

MARK = "require_own"  # as in stores/guard.py, which cannot be imported before this check


def foreign() -> str:
    """A message that names the first foreign package; empty where both are ours."""
    for name in ("stores", "pipeline"):
        spec = find_spec(name)
        place = spec.origin if spec else None
        if place is None or MARK not in Path(place).read_text(encoding="utf-8", errors="replace"):
            return (
                f"neurocube: `import {name}` finds {place or 'nothing'}, which is not neurocube's {name!r}. "
                "Take the folder that holds it off PYTHONPATH, or install neurocube in an environment of its own."
            )
    return ""


if __name__ == "__main__":
    if message := foreign():
        print(message, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    try:  # also while this imports for a second or two
        from pipeline.cli import main

        main()
    except KeyboardInterrupt:
        print("neurocube: interrupted; run the same command again to go on", file=sys.stderr)  # noqa: T201
        sys.exit(130)
