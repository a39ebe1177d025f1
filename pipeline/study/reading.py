"""A study file, parsed once at the door: unknown keys, wrong types and missing variables, all at once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.study.schema import Study, StudyError, near, parsed

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
    tree = _tree(file)
    faults: list[str] = []
    if isinstance(tree.get("variables") or {}, dict):
        for setting in settings:
            _apply(tree, setting, faults)
        tree = _substituted(tree, faults)
    study = parsed(tree, faults)
    if faults or study is None:
        raise StudyError(f"{file}:\n  - " + "\n  - ".join(faults))
    return study


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
    """The tree with every `${name}` replaced; variables without a value are faults."""
    variables = tree.get("variables") or {}
    used: set[str] = set()

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: walk(v) for k, v in node.items()}
        if isinstance(node, list):
            return [walk(v) for v in node]
        if isinstance(node, str):
            used.update(VARIABLE.findall(node))
            return VARIABLE.sub(lambda found: str(variables.get(found[1]) or found[0]), node)
        return node

    replaced = {key: value if key == "variables" else walk(value) for key, value in tree.items()}
    for name in sorted(used):
        if name not in variables:
            faults.append(f"${{{name}}} is not a variable of the study{near(name, variables)}")
        elif variables[name] in (None, ""):
            faults.append(f"variable {name!r} has no value; give one with --set {name}=...")
    return replaced
