"""What a foreign file does wrong is told in one sentence, with the cause behind it."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models import ModelError, layers, load, network_spec

NETS = """
import warnings
import numpy as np
import torch
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

def leaves():
    raise SystemExit("bye")

def quits():
    return Raises(SystemExit(2)), dict(resize=[8, 8])

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), dict(resize=[8, 8])

def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Sequential(nn.Flatten())), dict(resize=[8, 8])

def keeping(**values):
    module = nn.Sequential(nn.Flatten())
    vars(module[0]).update(values)
    return module, dict(resize=[8, 8])

def tensor():
    return keeping(weight=torch.ones(192))

def array():
    return keeping(weight=np.ones(192))

def heads():
    return keeping(heads=[nn.Linear(192, 2)], known=[nn.Flatten])

def nested():
    return keeping(parts={"a": (1, [torch.ones(3)])})
"""


@pytest.mark.parametrize(
    ("source", "function", "said", "cause"),
    [
        (NETS, "build", r"fails in build\(\): ValueError: no such depth: 7 \(--debug", ValueError),
        (NETS, "keyed", r"fails in keyed\(\): KeyError: 'depth'", KeyError),
        (NETS, "number", "gives 5 as its transform; wanted a dict", type(None)),
        (NETS, "forward", r"batch of \(2, 3, 8, 8\): ValueError: wanted 4 channels$", ValueError),
        (NETS, "asserting", r"batch of \(2, 3, 8, 8\): AssertionError$", AssertionError),
        (NETS, "leaves", r"fails in leaves\(\): SystemExit: bye \(--debug", SystemExit),
        (NETS, "quits", r"batch of \(2, 3, 8, 8\): SystemExit: 2$", SystemExit),
        (NETS, "lazy", r"returned weights without a shape: 1.weight, 1.bias; say it, or run", type(None)),
        (NETS, "scripted", "returned TorchScript, whose layers cannot be tapped", type(None)),
        (NETS, "tensor", r"torch does not see them: 0\.weight; make each a Parameter, a buffer", type(None)),
        (NETS, "array", r"torch does not see them: 0\.weight;", type(None)),
        (NETS, "heads", r"torch does not see them: 0\.heads;", type(None)),
        (NETS, "nested", r"torch does not see them: 0\.parts;", type(None)),
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


def test_transform__of_foreign_values_is_told_before_anything_is_built() -> None:
    for transform, said in (
        ({"resize": [[1, 2], [3, 4]]}, "resize is ([1, 2], [3, 4]), wanted a positive int"),
        ({"mean": {"a": 1}}, "mean is {'a': 1}, wanted a list of numbers"),
    ):
        with pytest.raises(ModelError, match=re.escape(said)):
            network_spec("squeezenet1_0-caffe", untrained_seed=0, transform=transform)


def test_transformers__folder_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"builds no network from {tmp_path}: ValueError"):
        load(f"transformers:{tmp_path}", untrained_seed=0)


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": np.zeros(3)}))


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(nn.Flatten()).save(path)


NO_WEIGHTS = "it is no weights file of torch, or a damaged one. Wanted names and tensors"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda path: torch.save(nn.Sequential(), path),
            "it holds torch.nn.modules.container.Sequential, and",
        ),
        (torchscript, "it holds TorchScript, which is a program"),
        (plain_pickle, NO_WEIGHTS),
        (lambda path: path.write_text("hello world"), NO_WEIGHTS),
        (lambda path: path.write_bytes(b""), NO_WEIGHTS),
        (lambda path: torch.save({1: torch.zeros(3)}, path), "holds a dict; wanted names and tensors"),
    ],
)
def test_weights__that_torch_refuses_are_told_in_own_words(tmp_path: Path, write: Any, said: str) -> None:
    write(path := tmp_path / "w.pt")
    with pytest.raises(ModelError, match=said) as caught:
        load("squeezenet1_0-caffe", weights=path)
    assert not any(word in str(caught.value) for word in ("weights_only", "trust", "\x1b", "\n"))


def damaged(path: Path) -> None:
    np.savez_compressed(path, a=np.arange(9.0))
    data = bytearray(path.read_bytes())
    data[data.index(b"a.npy") + 25] ^= 255  # where the deflated bytes begin
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("hello world"), "it is no .npz archive"),
        (lambda path: np.savez(path, a=np.array(["words"])), "numpy.str_"),
        (damaged, "Error -3 while decompressing"),
    ],
)
def test_weights__that_numpy_refuses_are_told(tmp_path: Path, write: Any, said: str) -> None:
    write(path := tmp_path / "w.npz")
    with pytest.raises(ModelError, match=f"cannot read weights file .*{said}") as caught:
        load("squeezenet1_0-caffe", weights=path)
    assert "allow_pickle" not in str(caught.value)
