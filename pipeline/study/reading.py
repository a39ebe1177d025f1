"""A study file, parsed once at the door: unknown keys, wrong types and missing variables, all at once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.study.schema import Study, StudyError, near, parsed

VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML would let the second replace the first, unsaid."""

    # Here and not where mappings are constructed: by then `<<` has mixed in keys that may be given again.
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (given := (key.tag, key.value)) in first:
                raise StudyError(
                    f"the key {key.value!r} is given twice, in line {first[given]} and in line {line}; the "
                    "second would replace the first: rename or remove one"
                )
            first[given] = line
        return node


def read_study(path: str | Path, settings: Iterable[str] = ()) -> Study:
    """Parse a study file.

    settings : `KEY=VALUE` texts; KEY is a variable of the study, or a dotted place such as
    `steps.human-it.method`, whose VALUE is then read as YAML.
    Raises StudyError with every fault.
    """
    file = Path(path)
    faults: list[str] = []
    try:
        study = _study(_tree(file), settings, faults)
    except RecursionError:
        raise StudyError(f"{file} is nested too deeply, or an alias (*) in it stands for itself") from None
    if faults or study is None:
        raise StudyError(f"{file}:\n  - " + "\n  - ".join(faults))
    return study


def _study(tree: dict[str, Any], settings: Iterable[str], faults: list[str]) -> Study | None:
    for setting in settings:
        if _has_variables(tree):
            _apply(tree, setting, faults)
    return parsed(_substituted(tree, faults) if _has_variables(tree) else tree, faults)


def _has_variables(tree: dict[str, Any]) -> bool:
    """Whether they are a mapping, which may be empty; if not, the schema tells."""
    return isinstance(tree.get("variables") or {}, dict)


def _tree(file: Path) -> dict[str, Any]:
    try:
        tree = _parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"there is no study file {file}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise StudyError(f"{file} cannot be read: {fault}") from fault
    except yaml.YAMLError as fault:
        raise StudyError(f"{file} is not YAML: {fault}") from fault
    except StudyError as fault:
        raise StudyError(f"{file}: {fault}") from None
    if not isinstance(tree, dict):
        raise StudyError(f"{file} holds no study: wanted the keys title, store and steps")
    return tree


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


def _apply(tree: dict[str, Any], setting: str, faults: list[str]) -> None:
    key, sign, value = setting.partition("=")
    if not sign or not key:
        faults.append(f"--set {setting!r} is not KEY=VALUE")
        return
    variables = tree.get("variables") or {}
    if "." not in key and key not in tree:
        if key not in variables:
            faults.append(f"--set {key}: the study has no variable of this name{near(key, variables)}")
            return
        variables[key] = value
        return
    if key in variables:
        variables[key] = value
        return
    node, parts = tree, key.split(".")
    for part in parts[:-1]:
        node = node.get(part) if isinstance(node, dict) else None  # type: ignore[assignment]
        if not isinstance(node, dict):
            faults.append(f"--set {key}: the study has no {part!r} there")
            return
    try:
        node[parts[-1]] = _parse(value)
    except yaml.YAMLError as fault:
        why = getattr(fault, "problem", None) or "it cannot be parsed"
        faults.append(f"--set {key}: {value!r} is not YAML: {why}")
    except StudyError as fault:
        faults.append(f"--set {key}: {fault}")


def _substituted(tree: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """The tree with every `${name}` replaced, also in variables; those without a value are faults."""
    variables = tree.get("variables") or {}
    said: dict[str, None] = {}

    def fault(name: str, within: tuple[str, ...]) -> str:
        if name in within:
            return f"variables that stand for themselves: {' -> '.join((*within, name))}"
        if name not in variables:
            return f"${{{name}}} is not a variable of the study{near(name, variables)}"
        if variables[name] in (None, ""):
            return f"variable {name!r} has no value; give one with --set {name}=..."
        return ""

    def filled(text: str, within: tuple[str, ...] = ()) -> str:
        def value(found: re.Match[str]) -> str:
            if told := fault(name := found[1], within):
                said[told] = None
                return found[0]
            return filled(str(variables[name]), (*within, name))

        return VARIABLE.sub(value, text)

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: walk(v) for k, v in node.items()}
        if isinstance(node, list):
            return [walk(v) for v in node]
        return filled(node) if isinstance(node, str) else node

    replaced = {key: value if key == "variables" else walk(value) for key, value in tree.items()}
    faults += said
    return replaced
