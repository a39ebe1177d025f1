"""Pages that are written from the code say what the code says, and studies in pages are studies."""

import re
import runpy
from pathlib import Path

import pytest

from pipeline.study import read_study

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
STUDIES = [
    block if block.startswith("title:") else f"title: T\nstore: s\n{block}"
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if "steps:" in block
]


def test_generated_pages_are_up_to_date():
    pages = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, "run `make docs`"


def test_studies_are_found_in_pages():
    assert STUDIES


@pytest.mark.parametrize("study", STUDIES)
def test_studies_in_pages_can_be_read(tmp_path, study):
    path = tmp_path / "study.yaml"
    path.write_text(study, encoding="utf-8")
    read_study(path)
