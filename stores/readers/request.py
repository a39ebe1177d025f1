"""What an import asks for: a reader, paths, and options by name, all checked before a file is opened.

An option is a keyword argument of the reader's function. It comes as a word (`--set subject=3`) or as a value of
a study, and becomes what the function's signature says.
"""

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Final, Literal, get_args, get_origin

import xarray as xr

from stores.errors import InputError
from stores.readers import READERS, reader
from stores.readers.reader import Reader

PICKLE: Final = "allow_pickle"
BOOLS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "false": False, "no": False}
WORDS: Final[Mapping[Any, str]] = {
    str: "a text",
    Path: "a path",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Sequence: "texts, separated by commas",
}


@dataclass(frozen=True)
class Request:
    """One import, ready to run: `options` are what the reader's function takes."""

    reader: Reader
    paths: tuple[Path, ...]
    options: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """What of the options decides the cubes, as plain JSON: all but places, whose files are hashed."""
        kept = {name: one for name, one in self.options.items() if not isinstance(one, Path)}
        return {
            name: list(one) if isinstance(one, tuple) else one for name, one in kept.items() if name != PICKLE
        }


def request(
    name: str,
    paths: Iterable[Path | str],
    options: Mapping[str, Any] | None = None,
    *,
    allow_pickle: bool = False,
) -> Request:
    """An import, checked. Raises InputError: no such reader, path or option, or a value of another kind."""
    found = reader(name)
    places = tuple(Path(one).expanduser() for one in paths)
    if not places:
        raise InputError(f"no path was given; {name} wants {', '.join(found.expects)}")
    for one in places:
        if not one.exists():
            raise InputError(f"path {one} does not exist; {name} wants {', '.join(found.expects)}")
    kinds = options_of(found)
    values = {key: _value(found, kinds, key, one) for key, one in (options or {}).items()}
    if allow_pickle and not takes_pickles(found):
        able = [other for other, one in sorted(READERS.items()) if takes_pickles(one)]
        raise InputError(
            f"{name} reads no pickles, and none of its files should be one; --allow-pickle is for "
            f"{', '.join(able)}. Leave it away."
        )
    return Request(found, places, MappingProxyType(values | ({PICKLE: True} if allow_pickle else {})))


def words(settings: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts of a command as options. Raises InputError."""
    found = {}
    for one in settings:
        key, sign, value = one.partition("=")
        if not sign or not key or key in found:
            raise InputError(f"--set {one!r} is not KEY=VALUE, or {key!r} is given twice")
        found[key] = value
    return found


def read(asked: Request) -> dict[str, xr.DataArray]:
    """The lazy cubes of every path by name; where two paths give a cube of one name, below those of the paths.

    `sub-01` and `sub-02`, each with `train`, become `sub-01/train` and `sub-02/train`. Raises InputError.
    """
    found = [(one, asked.reader.read(one, **asked.options)) for one in asked.paths]
    times = Counter(name for _, cubes in found for name in cubes)
    if max(times.values(), default=0) < 2:
        return {name: cube for _, cubes in found for name, cube in cubes.items()}
    labels = [one.name.split(".")[0] if one.is_file() else one.resolve().name for one in asked.paths]
    if again := [label for label, count in Counter(labels).items() if count > 1]:
        raise InputError(
            f"{len(found)} paths give cubes of one name, such as {times.most_common(1)[0][0]!r}, and more "
            f"than one path is called {again[0]!r}; import them one by one, each --into a name of its own"
        )
    return {
        f"{label}/{name}": cube
        for label, (_, cubes) in zip(labels, found, strict=True)
        for name, cube in cubes.items()
    }


def options_of(one: Reader) -> dict[str, Any]:
    """Name and type of each option that a reader takes, but for `allow_pickle`."""
    kinds = {
        name: _kind(found.annotation)
        for name, found in inspect.signature(one.read).parameters.items()
        if found.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return {name: kind for name, kind in kinds.items() if name != PICKLE}


def takes_pickles(one: Reader) -> bool:
    """Whether a reader's files are pickled as they are published."""
    return PICKLE in inspect.signature(one.read).parameters


def in_words(kind: Any) -> str:
    """What is wanted of an option of this type."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return WORDS.get(get_origin(kind) or kind, str(kind))


def _kind(annotation: Any) -> Any:
    """The type without `None`, which is what an option is where it is not given."""
    rest = [one for one in get_args(annotation) if one is not NoneType]
    optional = len(rest) < len(get_args(annotation))
    return rest[0] if optional and len(rest) == 1 else annotation


def _value(one: Reader, kinds: Mapping[str, Any], name: str, given: Any) -> Any:
    if name == PICKLE:
        raise InputError(f"{name} is no option: give --allow-pickle, or `allow_pickle: true` in a study")
    if name not in kinds:
        near = get_close_matches(name, kinds, n=1)
        there = "it has " + ", ".join(kinds) if kinds else "it has none"
        raise InputError(
            f"{one.name} has no option {name!r}; " + (f"did you mean {near[0]!r}?" if near else there)
        )
    try:
        return _converted(kinds[name], given)
    except ValueError:
        raise InputError(
            f"option {name} of {one.name} is {given!r}; wanted {in_words(kinds[name])}"
        ) from None


def _converted(kind: Any, given: Any) -> Any:
    """A word, or a value that YAML made of one, as `kind`. Raises ValueError."""
    if get_origin(kind) is Sequence:
        items = given.split(",") if isinstance(given, str) else given
        if isinstance(items, list) and all(isinstance(one, str) and one.strip() for one in items):
            return tuple(one.strip() for one in items)
    elif get_origin(kind) is Literal:
        if given in get_args(kind):
            return given
    elif kind is bool:
        return given if isinstance(given, bool) else _truth(_text(given))
    elif kind in (int, float) and isinstance(given, str | int | kind) and not isinstance(given, bool):
        return kind(given)
    elif kind is Path:
        return Path(_text(given)).expanduser()
    elif kind is str:
        return _text(given)
    raise ValueError(given)


def _truth(word: str) -> bool:
    if word.lower() not in BOOLS:
        raise ValueError(word)
    return BOOLS[word.lower()]


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError(given)
    return given
