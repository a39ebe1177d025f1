"""From a decoded image to what a network takes, declared as data so that it can be hashed and shown."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from pipeline.models.errors import ModelError, unknown

INTERPOLATIONS: Final[Mapping[str, Image.Resampling]] = {
    member.name.lower(): member for member in Image.Resampling
}
"""Pillow's filters by their field name: nearest, bilinear, bicubic, lanczos, box, hamming."""
COLOURS: Final[Mapping[str, int]] = {"RGB": 3, "BGR": 3, "L": 1, "LLL": 3}
"""Channels a network takes: colour in either order, luma (ITU-R 601) once, or luma thrice."""

Size = int | tuple[int, int]


@dataclass(frozen=True)
class Transform:
    """Resize with Pillow, crop the centre, order the channels, then ``(pixel / divide - mean) / std``.

    resize : an int sets the shorter side (the other follows, rounded down); (height, width) sets both;
             None leaves the image as it is.      crop : (height, width) of the centre, or one int for both.
    mean, std : one per channel, in the order of `colour`; empty means 0 and 1.
    half : where a centre crop would begin at half a pixel: the "even" one (torchvision) or "down" (transformers).

    Steps and roundings are torchvision's, in float32: the numbers are equal to its own, bit for bit.
    Raises ModelError where the fields do not fit each other.
    """

    resize: Size | None
    crop: Size | None = None
    interpolation: str = "bilinear"
    colour: str = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    half: str = "even"

    def __post_init__(self) -> None:
        for name in ("resize", "crop", "mean", "std"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        _refuse(_foreign(vars(self)))
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.colour not in COLOURS:
            raise unknown("colour order", self.colour, COLOURS)
        if self.half not in ("even", "down"):
            raise unknown("rounding of half pixels", self.half, ("even", "down"))
        _refuse(self._faults())

    def _faults(self) -> list[str]:
        found = []
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, self.channels):
                found.append(
                    f"{name} has {len(values)} values for the {self.channels} channels of {self.colour!r}"
                )
        if self.divide == 0 or 0 in self.std:
            found.append("divide and std must not be 0")
        if not found and self.crop is None and not isinstance(self.resize, tuple):
            found.append("images would end at different sizes: give crop, or resize as [height, width]")
        elif not found and self.resize is not None and self.crop is not None:
            wanted, there = _pair(self.crop), _pair(self.resize)
            if wanted[0] > there[0] or wanted[1] > there[1]:
                found.append(f"crop {self.crop} is larger than resize {self.resize}")
        return found

    @property
    def channels(self) -> int:
        """Number of channels the network takes."""
        return COLOURS[self.colour]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image after the transform."""
        return _pair(self.crop or self.resize or 0)  # `_faults` refuses a transform with neither

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of `pixels`; grey is one channel, however often the network takes it."""
        return (*self.size, 1 if self.colour.startswith("L") else 3)

    @classmethod
    def of(cls, given: Mapping[str, Any], base: "Transform | None" = None) -> "Transform":
        """A transform from plain fields, as a study writes them; those not given are `base`'s.

        Raises ModelError, for an unknown field with a near match.
        """
        given = cls.checked(given)
        return replace(base, **given) if base else cls(**{"resize": None, **given})

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given`, with tuples for lists. Raises ModelError for an unknown field, or a value of another kind."""
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown("field of a transform", name, names)
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        _refuse(_foreign(plain))
        return plain

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, for content keys and provenance."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether an image of (height, width) is as large as the crop, once it is resized."""
        width, height = self._resized(size[::-1])
        return height >= self.size[0] and width >= self.size[1]

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """The geometric half: (h, w, 3) uint8 -> `stored_shape` uint8."""
        mode = "L" if self.colour.startswith("L") else "RGB"
        picture = Image.fromarray(image)
        if picture.mode != mode:
            picture = picture.convert(mode)
        if (size := self._resized(picture.size)) != picture.size:
            picture = picture.resize(size, INTERPOLATIONS[self.interpolation])
        values = np.asarray(picture)
        if self.crop is not None:
            values = _centre(values, self.size, self.half)
        values = values[:, :, None] if values.ndim == 2 else values
        return values[:, :, ::-1] if self.colour == "BGR" else values

    def values(self, pixels: torch.Tensor) -> torch.Tensor:
        """The arithmetic half: `pixels` of n images, stacked -> (n, channels, height, width) float32."""
        out = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        if self.colour == "LLL":
            out = out.repeat(1, 3, 1, 1)
        if self.divide != 1.0:
            out.div_(self.divide)
        if self.mean:
            out.sub_(torch.tensor(self.mean, device=out.device)[:, None, None])
        if self.std:
            out.div_(torch.tensor(self.std, device=out.device)[:, None, None])
        return out

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to resize an image of (width, height) to."""
        if self.resize is None:
            return size
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        width, height = size
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize


def _refuse(faults: list[str]) -> None:
    if faults:
        raise ModelError("the transform cannot be applied: " + "; ".join(faults))


def _foreign(given: Mapping[str, object]) -> list[str]:
    """What is wrong with each field by itself."""
    kinds: dict[str, tuple[tuple[str, ...], Callable[[object], bool]]] = {
        "a word": (("interpolation", "colour", "half"), lambda value: isinstance(value, str)),
        "a list of numbers": (("mean", "std"), _are_numbers),
        "a number": (("divide",), lambda value: isinstance(value, Real)),
        "a positive int or (height, width)": (
            ("resize", "crop"),
            lambda value: value is None or _is_size(value),
        ),
    }
    return [
        f"{name} is {given[name]!r}, wanted {kind}"
        for kind, (names, fits) in kinds.items()
        for name in names
        if name in given and not fits(given[name])
    ]


def _are_numbers(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, Real) for value in values)


def _is_size(value: object) -> bool:
    sides = value if isinstance(value, tuple) else (value, value)
    return len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)


def _pair(size: Size) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _centre(values: np.ndarray, size: tuple[int, int], half: str) -> np.ndarray:
    """The centre of (h, w, ...)."""
    height, width = values.shape[:2]
    if height < size[0] or width < size[1]:
        raise ModelError(
            f"an image of {height} x {width} pixels is smaller than the centre crop {size[0]} x {size[1]}; "
            "give the transform a `resize`"
        )
    begin = round if half == "even" else int
    top, left = begin((height - size[0]) / 2.0), begin((width - size[1]) / 2.0)
    return values[top : top + size[0], left : left + size[1]]
