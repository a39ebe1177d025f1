"""The rules of who may import whom, and a checker of them that reads the source without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERBS = (
    "pipeline.preprocess",
    "pipeline.extract",
    "pipeline.extract_task",
    "pipeline.reliability",
    "pipeline.decode",
    "pipeline.encode",
    "pipeline.rsa",
)
SHARED = ("pipeline.blocks", "pipeline.plan", "pipeline.fill")
TOP = (
    "pipeline.cli",
    "pipeline.study",
    "pipeline.demo",
    "pipeline.command",
    "pipeline.faults",
    "pipeline.terminal",
)
LABELS = ("xarray", "dask", "distributed", "zarr")
CLIENT = ("distributed", "dask.distributed")


@dataclass(frozen=True)
class Rule:
    """Modules under `rooms` (but not under `but`) import nothing of `never`, except what `save` names."""

    why: str
    rooms: tuple[str, ...]
    never: tuple[str, ...]
    save: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


def ground(room: str, *never: str, why: str) -> Rule:
    """A room on the ground floor knows itself alone."""
    return Rule(why, (room,), ("stores", "pipeline", *never), save=(room,))


RULES = (
    Rule("stores is data at rest and knows nothing of computation", ("stores",), ("pipeline",)),
    Rule("readers know stores, not the other way", ("stores",), ("stores.readers",), but=("stores.readers",)),
    ground(
        "pipeline.kernels",
        *LABELS,
        *("logging", "pandas", "h5py", "pathlib", "os", "io", "shutil", "tempfile"),
        why="kernels are arrays in, arrays out: no labels, graphs, files or logging",
    ),
    ground("pipeline.models", *LABELS, why="networks know torch alone"),
    ground("pipeline.cluster", why="the cluster knows no data"),
    Rule(
        "verbs know kernels, models and stores",
        (*VERBS, *SHARED),
        ("stores.readers", "pipeline.cluster", "pipeline.report", *TOP),
    ),
    Rule("what verbs share knows no verb", SHARED, VERBS),
    Rule(
        "the report knows results only",
        ("pipeline.report",),
        ("pipeline", "stores.readers", *CLIENT),
        save=("pipeline.report", "pipeline.errors"),
    ),
    Rule(
        "only fill and the top speak to a client",
        ("stores", "pipeline"),
        CLIENT,
        but=("pipeline.fill", "pipeline.cluster", *TOP),
    ),
    Rule(
        "nothing is unpickled",
        ("stores", "pipeline"),
        ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"),
        but=("stores.readers.unpickle_worker",),  # a process of its own, with an allow-list
        save=("pickle.UnpicklingError",),  # what torch raises for a file that it refuses
    ),
)


def breaches(root: Path) -> list[str]:
    """Every import and call under `root` that breaks a rule, as `file:line: module: reason`."""
    found = []
    for path in sorted([*root.glob("stores/**/*.py"), *root.glob("pipeline/**/*.py")]):
        room = module_name(path.relative_to(root))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, target in imports(tree):
            reasons = [rule.why for rule in RULES if _breaks(rule, room, target)]
            found += [f"{path.relative_to(root)}:{line}: imports {target}: {why}" for why in reasons]
        found += [f"{path.relative_to(root)}:{line}: {what}" for line, what in unsafe_calls(tree)]
    return found


def module_name(path: Path) -> str:
    """`stores/readers/__init__.py` -> `stores.readers`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, at whatever depth of the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from stores import readers` imports a module too, so each name counts with its package.
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def unsafe_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that would unpickle: `torch.load` without `weights_only=True`, `allow_pickle` not False anywhere.

    But for `request`, which passes a person's word on to a reader that has it done in a process of its own.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {one.arg: ast.unparse(one.value) for one in node.keywords if one.arg}
        if ast.unparse(node.func) == "torch.load" and given.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        asks = ast.unparse(node.func).rpartition(".")[2] == "request"
        if given.get("allow_pickle", "False") != "False" and not asks:
            yield node.lineno, f"allow_pickle={given['allow_pickle']}"


def _breaks(rule: Rule, room: str, target: str) -> bool:
    applies = _under(room, rule.rooms) and not _under(room, rule.but)
    return applies and _under(target, rule.never) and not _under(target, rule.save)


def _under(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in packages)
