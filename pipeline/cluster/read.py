"""The cluster file: YAML in, one `ClusterConfig` out, or every fault of it in one message."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.cluster.config import KINDS, ClusterConfig, ClusterError, Group, Profile, Tls, near

PATH_KEYS: Final = frozenset({"local_directory", *Tls.model_fields})
"""Where `${NAME}` may stand: paths differ between machines; the rest is to be read in the file itself."""


class _Loader(yaml.SafeLoader):
    """Refuses an alias inside what it stands for, of which `yaml.safe_load` makes a tree without end."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep_construct = True


def read(path: str | Path | None = None) -> ClusterConfig:
    """The cluster file at `path`; without one, the defaults: one `local` profile that fills this machine.

    Raises ClusterError, naming every fault with its key, where the file is missing, not YAML, or says
    what it cannot.
    """
    if path is None:
        return ClusterConfig()
    path = Path(path)
    tree = _load(path)
    faults = list(_variables(tree, ()))
    profiles: dict[str, Profile] = {}
    for name, raw in _profiles(tree, faults):
        if parsed := _profile(name, raw, path.parent, faults):
            profiles[name] = parsed
    top = {key: value for key, value in tree.items() if key != "profiles"}
    faults += _faults(ClusterConfig, top, path.parent)
    default = tree.get("default", "local")
    named = tree.get("profiles")
    if isinstance(named, dict) and isinstance(default, str) and default not in named:
        faults.append(f"default: there is no profile {default!r}{near(default, named)}")
    if faults:
        raise ClusterError(f"{path} cannot be used:\n  - " + "\n  - ".join(faults))
    return ClusterConfig.model_validate(top | ({"profiles": profiles} if profiles else {}))


def _load(path: Path) -> dict[str, Any]:
    try:
        tree = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise ClusterError(f"cannot read the cluster file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict | None) or not all(isinstance(key, str) for key in tree or ()):
        keys = ", ".join(ClusterConfig.model_fields)
        raise ClusterError(f"{path} holds a {type(tree).__name__}; wanted the keys {keys}")
    return tree or {}


def _profiles(tree: dict[str, Any], faults: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    raw = tree.get("profiles", {})
    if not isinstance(raw, dict):
        faults.append(f"profiles: is {raw!r}; wanted names, each with its settings")
        return
    for name, settings in raw.items():
        if not isinstance(name, str) or not isinstance(settings, dict | None):
            faults.append(f"profiles.{name}: is {settings!r}; wanted settings such as `kind: local`")
        else:
            yield name, settings or {}


def _profile(name: str, raw: dict[str, Any], folder: Path, faults: list[str]) -> Profile | None:
    kind = raw.get("kind", name)
    if not isinstance(kind, str) or kind not in KINDS:
        faults.append(f"profiles.{name}.kind: unknown kind {kind!r}{near(kind, KINDS)}")
        return None
    settings = {**raw, "kind": kind}
    if found := _faults(KINDS[kind], settings, folder):
        faults += [f"profiles.{name}.{fault}" for fault in found]
        return None
    return KINDS[kind].model_validate(settings, context={"folder": folder})


def _faults(model: type[BaseModel], raw: dict[str, Any], folder: Path) -> list[str]:
    try:
        model.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        return [_words(model, dict(one)) for one in error.errors(include_url=False)]
    return []


def _words(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    *parents, key = [str(part) for part in error["loc"]] or [""]
    where = ".".join([*parents, key])
    if error["type"] == "extra_forbidden":
        owner = Group if "workers" in parents else Tls if "security" in parents else model
        return f"{where}: unknown key{near(key, owner.model_fields)}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" + ("" if error["type"] == "value_error" else f", not {error['input']!r}")


def _variables(node: object, where: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _variables(value, (*where, str(key)))
    elif isinstance(node, list):
        for value in node:
            yield from _variables(value, where)
    elif isinstance(node, str) and "${" in node and (where[-1] not in PATH_KEYS or "dask" in where):
        paths = ", ".join(sorted(PATH_KEYS))
        yield f"{'.'.join(where)}: {node!r}: ${{...}} is allowed in paths only ({paths})"
