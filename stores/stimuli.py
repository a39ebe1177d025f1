"""Pictures as stimuli: a folder of image files, or a stored cube of pixels; ids, bytes, and their digest.

Both kinds are small and picklable, so that a task carries them and reads its own pictures:
`ids`, `digest`, `coords()`, and `pictures(start, stop)`, one function per picture that gives its pixels.
"""

import hashlib
import json
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import xarray as xr
from PIL import Image

from stores.decode import Pixels, UndecodableError, decode
from stores.dims import STIMULUS
from stores.errors import InputError, SchemaError
from stores.images import pixels_of
from stores.opening import open_cube
from stores.specs import IMAGES
from stores.validate import validate

SUFFIXES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LISTED: Final = 20

Picture = Callable[[], Pixels]


class Stimuli(Protocol):
    """What an extraction needs to know of its pictures."""

    @property
    def ids(self) -> tuple[str, ...]:
        """One unique id per picture, in order."""

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every picture, in order."""

    @property
    def digest(self) -> str:
        """SHA-256 over every id and the content of every picture."""

    def coords(self) -> dict[str, tuple[Any, ...]]:
        """Further coordinates along the stimuli."""

    def pictures(self, start: int, stop: int) -> Sequence[Picture]:
        """One function per picture from `start` to `stop` (exclusive): called, it gives (h, w, 3) uint8."""


@dataclass(frozen=True)
class ImageFile:
    """One file of a folder: its path in it, SHA-256 of its bytes, and (height, width) as decoded."""

    path: str
    sha256: str
    size: tuple[int, int]


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, read once: `skipped` lists the files left out, each with the reason."""

    root: str
    ids: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every image as decoded."""
        return tuple(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 over (id, SHA-256 of the bytes) of every image; where the folder lies does not count."""
        return _digest((name, file.sha256) for name, file in zip(self.ids, self.files, strict=True))

    @property
    def losses(self) -> str:
        """What was left out, in one line, each file with its reason; empty where all were read."""
        if not self.skipped:
            return ""
        named = "; ".join(cut([f"{file} {reason}" for file, reason in self.skipped]))
        total = len(self.ids) + len(self.skipped)
        return f"{len(self.skipped)} of {total} images in {self.root} are left out: {named}"

    def coords(self) -> dict[str, tuple[str, ...]]:
        """The file of each stimulus, relative to the folder."""
        return {"file": tuple(file.path for file in self.files)}

    def select(self, at: Sequence[int]) -> "ImageFolder":
        """The images at these places, in this order."""
        ids, files = (tuple(one[n] for n in at) for one in (self.ids, self.files))
        return replace(self, ids=ids, files=files)  # type: ignore[arg-type]

    def decode(self, index: int) -> Pixels:
        """Pixels of one image, (h, w, 3) uint8. Raises InputError where its bytes are not those once read."""
        path, file = Path(self.root) / self.files[index].path, self.files[index]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read any more: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise InputError(f"{path} has changed since the folder was read; run the same command again")
        return decode(data)

    def pictures(self, start: int, stop: int) -> list[Picture]:
        """One function per image; each reads its own file."""
        return [partial(self.decode, index) for index in range(start, stop)]


@dataclass(frozen=True)
class ImageCube:
    """A stored cube of modality `images`; its pictures are read from the store as they are wanted."""

    root: str
    name: str
    ids: tuple[str, ...]
    digest: str
    size: tuple[int, int]
    categories: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every picture: the same for all."""
        return (self.size,) * len(self.ids)

    def coords(self) -> dict[str, tuple[Any, ...]]:
        """What the cube says of its stimuli."""
        return dict(self.categories)

    def decode(self, index: int) -> Pixels:
        """Pixels of one picture, (h, w, 3) uint8."""
        return self.pictures(index, index + 1)[0]()

    def pictures(self, start: int, stop: int) -> list[Picture]:
        """One function per picture; the span is read from the store at once."""
        cube = _opened(self.root, self.name, self.digest).isel({STIMULUS: slice(start, stop)})
        pixels = np.asarray(pixels_of(cube.load(scheduler="synchronous")))
        return [partial(_three_channels, picture) for picture in pixels]


def read_folder(
    path: str | Path,
    *,
    on_error: Literal["raise", "skip"] = "raise",
    recursive: bool = False,
    threads: int = 2,
) -> ImageFolder:
    """Read every image of a folder once: its id is the file's stem, and ids are sorted.

    Whatever has an image's suffix is hashed and decoded. Hidden files (`._x.png`, `.DS_Store`) are no
    stimuli. on_error : "raise" lists every unreadable file at once; "skip" leaves them out and records them.
    Raises InputError: no folder, nothing in it, two files of one stem, unreadable files.
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f"on_error is {on_error!r}; choose 'raise' or 'skip'")
    # Absolute: tasks read it again, in whatever folder their worker was started.
    root = Path(path).expanduser().absolute()
    found = image_paths(root, recursive=recursive)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        read = list(pool.map(partial(_read, root), found))
    bad = [(name, result) for name, result in zip(found, read, strict=True) if isinstance(result, str)]
    good = {_stem(file.path): file for file in read if isinstance(file, ImageFile)}
    if bad and (on_error == "raise" or not good):
        raise InputError(
            f"{len(bad)} of {len(found)} images in {root} cannot be used:\n  - "
            + "\n  - ".join(cut([f"{name} {reason}" for name, reason in bad]))
            + "\nRepair or remove them, or leave them out with `on_error: skip`."
        )
    ids = tuple(sorted(good))
    return ImageFolder(str(root), ids, tuple(good[name] for name in ids), tuple(bad))


def read_images(root: Any, name: str) -> ImageCube:
    """A stored cube of modality `images` as stimuli. Raises SchemaError where it is another modality.

    Its values are read once, block by block, to hash them: the same pixels have the same digest however they
    are stored. Extraction reads it stimulus by stimulus; a large one is best written with `access="stimulus"`.
    """
    cube = validate(open_cube(root, name), IMAGES)
    ids = tuple(map(str, cube[STIMULUS].values))
    blocks = np.cumsum([0, *cube.chunksizes[STIMULUS]]).tolist()
    shape = [int(cube.attrs[key]) for key in ("height", "width", "channels")]
    if shape[2] not in (1, 3):
        raise SchemaError(
            f"{name} has {shape[2]} channels; wanted 1 or 3: lay the pictures over their ground"
        )
    head, hashes = json.dumps(shape).encode(), list[str]()
    for start, stop in pairwise(blocks):
        part = cube.isel({STIMULUS: slice(start, stop)}).load(scheduler="synchronous")
        hashes += [hashlib.sha256(head + row.tobytes()).hexdigest() for row in part.values]
    coords = {
        str(key): tuple(coord.values.tolist())
        for key, coord in cube.coords.items()
        if coord.dims == (STIMULUS,) and key != STIMULUS
    }
    digest = _digest(zip(ids, hashes, strict=True))
    return ImageCube(str(root), name, ids, digest, (shape[0], shape[1]), tuple(coords.items()))


@lru_cache(maxsize=2)
def _opened(root: str, name: str, digest: str) -> xr.DataArray:  # noqa: ARG001 (a cube made anew is opened anew)
    return open_cube(root, name)


def _three_channels(picture: Pixels) -> Pixels:
    """(h, w, 1) grey -> (h, w, 3)."""
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def image_paths(root: Path, *, recursive: bool = False) -> list[str]:
    """Paths of all images, relative to `root`, as POSIX text; none is opened.

    Raises InputError: no folder, nothing in it, two files of one stem.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is not a folder of images{'; it is a file' if root.is_file() else ''}")
    every = list(root.rglob("*") if recursive else root.iterdir())
    # What is no file goes along, to be named among those that cannot be used.
    below = [path.relative_to(root) for path in every if not (recursive and path.is_dir())]
    found = sorted(
        path.as_posix()
        for path in below
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
    )
    if not found:
        folders = sum(path.is_dir() for path in every)
        into = "; its folders are not looked into" if folders and not recursive else ""
        raise InputError(
            f"no images in {root} ({len(every) - folders} other files){into}. "
            f"Images end in {', '.join(SUFFIXES)}"
        )
    _refuse_duplicates(root, found)
    return found


def _digest(pairs: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(list(pairs), ensure_ascii=False).encode()).hexdigest()


def _stem(path: str) -> str:
    # macOS writes accents in two characters, everybody else in one: the id must be the same.
    return unicodedata.normalize("NFC", Path(path).stem)


def _refuse_duplicates(root: Path, paths: Sequence[str]) -> None:
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_stem[_stem(path)].append(path)
    if twice := {stem: files for stem, files in by_stem.items() if len(files) > 1}:
        raise InputError(
            f"{len(twice)} stimulus ids in {root} come from more than one file:\n  - "
            + "\n  - ".join(cut([f"{stem!r}: {', '.join(files)}" for stem, files in twice.items()]))
            + "\nAn id is a file's name without its ending; rename or remove the others."
        )


def _read(root: Path, path: str) -> ImageFile | str:
    """What is kept of one file, or in words why it cannot be used."""
    try:
        if reason := _no_file(root / path):
            return reason
        data = (root / path).read_bytes()
        height, width = decode(data).shape[:2]
    except UndecodableError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ImageFile(path, hashlib.sha256(data).hexdigest(), (height, width))


def _no_file(path: Path) -> str:
    """In words what lies at `path` instead of a file; a pipe among them would keep whoever reads it waiting."""
    if path.is_file():
        return ""
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which is not there"
    return f"is a {'folder' if path.is_dir() else 'device or pipe'}, not a file"


def cut(lines: list[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    return lines if len(lines) <= LISTED else [*lines[:LISTED], f"... and {len(lines) - LISTED} more"]
