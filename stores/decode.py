"""One image file as 8-bit RGB pixels, whatever kind of file it is; or a sentence why it cannot be."""

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

PIXELS_AT_MOST: Final = Image.MAX_IMAGE_PIXELS or 2**26
"""Pillow's own limit (89 million), above which it warns: here an error, before anything is decoded."""
GROUND: Final = 128
"""The grey that shows through transparent pixels."""
_DAMAGE: Final = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, struct.error, zlib.error)
"""What Pillow's decoders raise on broken files."""


class UndecodableError(ValueError):
    """The bytes are no image that can be shown; the message is the reason alone."""


def decode(data: bytes) -> Pixels:
    """The pixels of an image file, (height, width, 3) uint8.

    EXIF orientation is applied; of an animation the first frame is taken; grey, palette, CMYK and other
    modes become RGB by Pillow's rules, without colour management; 16-bit grey keeps its upper 8 bits,
    rounded; what is transparent shows mid-grey (128). Raises UndecodableError.
    """
    try:
        return _pixels(Image.open(io.BytesIO(data)))
    except UndecodableError:
        raise
    except UnidentifiedImageError:
        raise UndecodableError(_what(data)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableError(f"is too large: {error}") from None
    except _DAMAGE as error:
        raise UndecodableError(f"cannot be decoded ({error})") from error


def _pixels(picture: Image.Image) -> Pixels:
    width, height = picture.size
    if width < 1 or height < 1:
        raise UndecodableError(f"has {height} x {width} pixels")
    if width * height > PIXELS_AT_MOST:
        raise UndecodableError(f"is too large: {height} x {width} pixels, at most {PIXELS_AT_MOST} in all")
    picture.load()
    return np.array(_rgb(ImageOps.exif_transpose(picture)), np.uint8)


def _rgb(picture: Image.Image) -> Any:
    """Something that NumPy reads as (height, width, 3) uint8."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _from_wide(np.asarray(picture), picture.mode)
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        ground = Image.new("RGBA", picture.size, (GROUND, GROUND, GROUND, 255))
        return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _from_wide(values: npt.NDArray[Any], mode: str) -> Pixels:
    """16-bit grey to 8 bits: 65535 becomes 255."""
    if mode == "F" or values.min() < 0 or values.max() > 65535:
        span = f"{values.min()} to {values.max()}"
        raise UndecodableError(f"has mode {mode!r} with values {span}; wanted 8 or 16 bits")
    grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _what(data: bytes) -> str:
    if not data:
        return "is empty"
    if data[:512].isascii():
        return f"is text, not an image (it begins {data[:20]!r})"
    return "is no image that Pillow knows"
