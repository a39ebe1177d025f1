"""The page on preprocessing runs as it stands."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parent.parent / "docs" / "preprocess.md"


def test_preprocess_page__its_code_runs(capsys):
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # as a reader would run it
    assert names["record"]["bads"]["named"] == ["Fp1"]
    assert len(names["record"]["ica"]["eog"]) == 1
    face = names["evoked"]
    assert abs(float(face.time[int(np.abs(face.values).argmax())]) - 0.17) < 0.02
    assert dict(names["cube"].sizes)["stimulus"] == 3
    assert names["white"].attrs["units"] == "a.u."
    assert names["beta"].band == "beta"
    assert "bad epochs" not in "".join(capsys.readouterr())
