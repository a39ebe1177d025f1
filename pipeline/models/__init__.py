"""Networks as lists of taps: build one by name, list its layers, read what they answer. torch only."""

from pipeline.models.errors import ModelError
from pipeline.models.network import PRECISIONS, Network, NetworkSpec, build, load, network_spec
from pipeline.models.taps import LayerInfo, activations, find, layers, require_steady
from pipeline.models.transform import Transform

__all__ = [
    "PRECISIONS",
    "LayerInfo",
    "ModelError",
    "Network",
    "NetworkSpec",
    "Transform",
    "activations",
    "build",
    "find",
    "layers",
    "load",
    "network_spec",
    "require_steady",
]
