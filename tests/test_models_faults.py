"""What a foreign file does wrong is told in one sentence, with the cause behind it."""

from pathlib import Path

import pytest

from pipeline.models import ModelError, layers, load

NETS = """
from torch import nn

def build():
    raise ValueError("no such depth: 7\\nand more")

def keyed():
    return {}["depth"]

def number():
    return nn.Flatten(), 5

class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error
    def forward(self, x):
        raise self.error

def forward():
    return Raises(ValueError("wanted 4 channels")), dict(resize=[8, 8])

def asserting():
    return Raises(AssertionError()), dict(resize=[8, 8])
"""


@pytest.mark.parametrize(
    ("source", "function", "said", "cause"),
    [
        (NETS, "build", r"fails in build\(\): ValueError: no such depth: 7 \(--debug", ValueError),
        (NETS, "keyed", r"fails in keyed\(\): KeyError: 'depth'", KeyError),
        (NETS, "number", "gives 5 as its transform; wanted a dict", type(None)),
        (NETS, "forward", r"batch of \(2, 3, 8, 8\): ValueError: wanted 4 channels$", ValueError),
        (NETS, "asserting", r"batch of \(2, 3, 8, 8\): AssertionError$", AssertionError),
        (
            "import nowhere_to_be_found",
            "build",
            "cannot be imported: ModuleNotFoundError: No module",
            ImportError,
        ),
        ("def build(:", "build", "cannot be imported: SyntaxError: invalid syntax", SyntaxError),
    ],
)
def test_python_file__that_raises_is_told(
    tmp_path: Path, source: str, function: str, said: str, cause: type
) -> None:
    path = tmp_path / "nets.py"
    path.write_text(source)
    with pytest.raises(ModelError, match=said) as caught:
        layers(load(f"python:{path}:{function}"))
    assert str(path) in str(caught.value)
    assert isinstance(caught.value.__cause__, cause)


def test_transformers__folder_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"builds no network from {tmp_path}: ValueError"):
        load(f"transformers:{tmp_path}", untrained_seed=0)
