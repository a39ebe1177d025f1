"""SqueezeNet v1.0 as trained in Caffe (Iandola et al. 2016, arXiv:1602.07360), in torch alone.

torchvision's network of that name differs: other weights, RGB in [0, 1], a crop of 224.
"""

from typing import Final

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from pipeline.models.transform import Transform

TRANSFORM: Final = Transform(
    resize=(256, 256),
    crop=227,
    interpolation="bilinear",
    colour="BGR",
    divide=1.0,
    mean=(104.0, 117.0, 123.0),
)

FIRES: Final = {
    "fire2": (96, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}
"""Channels in, squeezed, and of each of the two expansions."""


class Rectified(nn.Conv2d):
    """A convolution followed by its ReLU: what the Caffe layers of this network mean by their names."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name nn.Conv2d gives it)
        """(n, in, h, w) -> (n, out, h', w'), not below 0."""
        return F.relu(super().forward(input))

    def reset_parameters(self) -> None:
        """He's uniform initialisation, which keeps the variance of an untrained twin's signal over layers."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1 x 1 and by 3 x 3, join both."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = Rectified(channels, squeezed, 1)
        self.expand1x1 = Rectified(squeezed, expanded, 1)
        self.expand3x3 = Rectified(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, 2 expanded, h, w)."""
        squeezed = self.squeeze(x)
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)


class GlobalMean(nn.Module):
    """Mean over the feature map: one logit per class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, classes, h, w) -> (n, classes)."""
        return x.mean((2, 3))


class SqueezeNet(nn.Sequential):
    """conv1, pool1, fire2 ... fire9, conv10, logits; every tap but the pools and logits is after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("conv1", Rectified(3, 96, 7, stride=2))
        self.add_module("pool1", _pool())
        for name, sizes in FIRES.items():
            self.add_module(name, Fire(*sizes))
            if name in ("fire4", "fire8"):
                self.add_module(f"pool{name[-1]}", _pool())
        self.add_module("conv10", Rectified(512, 1000, 1, padding=1))
        self.add_module("logits", GlobalMean())


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
