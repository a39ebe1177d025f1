"""Pages that are written from the code say what the code says."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_page_of_cubes_is_up_to_date():
    page = runpy.run_path(str(DOCS / "generate.py"))["page"]()
    assert (DOCS / "cubes.md").read_text(encoding="utf-8") == page, "run `make docs`"
