"""Write the pages that are made from the code, so that they cannot say anything else (`make docs`)."""

from collections.abc import Mapping
from pathlib import Path

from stores.readers import READERS
from stores.readers.request import in_words, options_of, takes_pickles
from stores.specs import MODALITIES, RESULTS, SPECS, Spec
from stores.validate import COMMON_ATTRS

KINDS = {"f": "floating point", "i": "signed integer", "u": "unsigned integer"}
HEAD = """# Cubes and results

Every array in a store is one plain `xarray.DataArray` in one Zarr v3 group. What each kind must look like is a
record in `stores/specs.py`; this page is written from those records (`make docs`), and `stores.validate` checks
against the same ones, naming every fault at once and reading no values.

All have the attributes {attrs}; every stored one also has `provenance`: its content key,
what it was made from, and versions. A cube has exactly the dims `stimulus, unit, time, repeat`; `stimulus` and
`unit` carry unique text ids, `time` is in seconds from stimulus onset (0.0 where there is no time axis), and a
trial that was not measured is NaN. Regions are one label per unit (`region`) or, where they overlap, masks
`roi_<name>`. Further coordinates are welcome; those named here are checked. Whatever a store would lose or change
is refused: names with spaces or slashes, texts that are missing, attributes by which xarray decodes numbers
(`scale_factor`, units such as `days since 2000-01-01`), and attributes that are no JSON.
"""


READERS_HEAD = """# Readers

What `neurocube import READER PATH... --into ROOT/NAME`, or an `import` step of a study, brings in. Each becomes
one or more [cubes](cubes.md); this page is written from the readers themselves (`make docs`).

Several paths are read one by one; where they give cubes of the same names, these go below the names of their
paths. Options are given as `--set KEY=VALUE`. What a reader leaves out is counted, printed and kept with the cube
(`attrs["dropped"]`); `--dry-run` says what would be imported. Pickles are read with `--allow-pickle` alone, in a
process of their own that knows arrays and plain values.

In a study, `labels` makes scores of other cubes coordinates, joined by the id of the stimulus or by its concept
(`stores.label` in Python); stimuli without an entry stay, and are counted:

```yaml
steps:
  scores: {verb: import, reader: things-memorability, path: /data/things}
  concepts: {verb: import, reader: things-concepts, path: /data/things}
  fmri:
    verb: import
    reader: things-fmri
    path: /data/betas_csv              # or a list of paths
    options: {}                        # as with --set; `allow_pickle: true` where a reader needs it
    labels:
      - {cube: scores/memorability, names: [cr]}
      - {cube: concepts/concepts, names: [category], by: concept}
```
"""


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {"cubes.md": cubes(), "readers.md": readers()}


def readers() -> str:
    """One section for each reader."""
    parts = [READERS_HEAD]
    for name, one in sorted(READERS.items()):
        parts += [f"## {name}\n", f"{one.doc}\n", "Expects:\n", *(f"* {text}" for text in one.expects), ""]
        if told := [f"`{option}` ({in_words(kind)})" for option, kind in options_of(one).items()]:
            parts.append(f"Options: {', '.join(told)}.\n")
        if takes_pickles(one):
            parts.append("Its files are pickles: it needs `--allow-pickle`.\n")
    return "\n".join(parts)


def cubes() -> str:
    """One section for each spec."""
    parts = [HEAD.format(attrs=", ".join(f"`{name}`" for name in COMMON_ATTRS))]
    parts += ["## Cubes\n", *(section(SPECS[name]) for name in MODALITIES)]
    parts += ["## Results\n", *(section(SPECS[name]) for name in RESULTS)]
    return "\n".join(parts)


def section(spec: Spec) -> str:
    """One spec as a heading, its sentence and a table."""
    rows = [
        ("dims", " x ".join(f"`{dim}`" for dim in spec.dims)),
        ("numbers", ", ".join(KINDS[kind] for kind in spec.kinds)),
        ("units", ", ".join(spec.units) or "any"),
        ("time", "the single value 0.0" if spec.timeless else "seconds, increasing"),
        ("ids", ", ".join(f"`{dim}`" for dim in spec.index)),
        ("must have", _coords(spec.coords)),
        ("may have", _coords(spec.optional)),
        ("attributes", ", ".join(f"`{name}`" for name in spec.attrs)),
    ]
    lines = [f"### {spec.name}\n", f"{spec.doc}\n", "| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {text} |" for name, text in rows if text), ""])


def _coords(coords: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"`{name}` on {' x '.join(dims)}" for name, dims in coords.items())


if __name__ == "__main__":
    for name, text in pages().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
