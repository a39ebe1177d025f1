"""What people make of THINGS images and concepts, and scores of any stimuli from a CSV file.

* `memorability`: corrected recognition of each image. Kramer et al. (2023), Science Advances 9:eadd2981.
* `concepts`: category and scores of each of the 1,854 concepts. Its label "NA" is text: no category.
* `ratings`: THINGSplus norms, a table with one row per concept or image. Stoinski et al. (2023).
* `csv_by_stimulus`: any table with one row per stimulus.

Nothing is dropped: a missing score is NaN. `stores.label` makes any of these coordinates of another cube.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts, unique
from stores.readers.files import find
from stores.readers.reader import Reader
from stores.readers.tables import NONE, integers, numbers, read_table, require
from stores.readers.things_stems import concept_of, image_numbers, stem_of
from stores.specs import BEHAVIOUR

MEMORABILITY_FILE: Final = "THINGS_Memorability_Scores.csv"
CONCEPTS_FILE: Final = "Concept_to_category_linking.csv"
RATINGS_FILE: Final = "objectProperties_meanRatings.tsv"
SCORES_FILE: Final = "scores.csv"
DOCS: Final[Mapping[str, str]] = {
    "memorability": "How well 26,107 THINGS images are recognised. Kramer et al. (2023).",
    "concepts": "Categories and scores of the 1,854 THINGS concepts.",
    "ratings": "THINGSplus ratings of concepts or images, one table. Stoinski et al. (2023).",
}
KEYS: Final = ("stimulus", "stimulus_id", "image", "image_name", "uniqueID", "concept", "file")
"""Names of columns that may hold the stimulus, the first that is there counts."""


def memorability(path: Path) -> xr.DataArray:
    """Scores `cr`, and any further column of numbers, of every image, with both numberings as coordinates.

    path : the CSV file or its folder. One image has no score, and is kept as NaN.
    Raises InputError, also where image_nr is not the place of the image in ASCII order.
    """
    path = find(path, MEMORABILITY_FILE)
    table = read_table(path, ["image_nr", "image_name", "file_path", "cr"])
    stems = _named(path, table["file_path"], stem_of)
    if (named := _named(path, table["image_name"], stem_of)) != stems:
        odd = next(n for n, (a, b) in enumerate(zip(stems, named, strict=True), start=1) if a != b)
        raise InputError(f"{path}: image_name and file_path differ in row {odd}")
    measures = [
        name for name in table.columns if name not in ("image_nr", "image_name", "file_path") and name
    ]
    cube = _cube(
        path, table, stems, measures, dataset="things-memorability", quantity="corrected recognition"
    )
    plain, paper = image_numbers(stems, "ascii"), image_numbers(stems, "paper")
    found = integers(path, table, "image_nr")
    if [plain[one] for one in stems] != found.tolist():
        raise InputError(
            f"{path}: image_nr is not the place of each image in ASCII order, from 1; are rows missing?"
        )
    return cube.assign_coords(
        concept=(STIMULUS, texts(map(concept_of, stems))),
        things_image_nr_ascii=(STIMULUS, found),
        things_image_nr_paper=(STIMULUS, np.array([paper[one] for one in stems], np.int64)),
    )


def concepts(path: Path) -> xr.DataArray:
    """Scores of every concept, whose ids are the stimuli, with its category; "NA" where it has none.

    path : the CSV file (with or without byte order mark) or its folder. Columns without a name are left out.
    """
    path = find(path, CONCEPTS_FILE)
    table = read_table(path, ["concept", "category", "category_label", "CR"])
    if blank := [n for n, one in enumerate(table["category_label"], start=1) if not one.strip()]:
        raise InputError(f"{path}: category_label is empty in row {blank[0]}; no category is written NA")
    measures = [name for name in table.columns if name not in ("concept", "category_label") and name]
    cube = _cube(
        path, table, table["concept"], measures, dataset="things-concepts", quantity="score of the concept"
    )
    return cube.assign_coords(category=(STIMULUS, texts(table["category_label"])))


def ratings(path: Path) -> xr.DataArray:
    """A THINGSplus table, tab-separated: numbers become measures, texts become coordinates `label_<column>`.

    Its key is `uniqueID` (folder of the concept) or `image`; `Word` is not unique and is a label.
    """
    path = find(path, RATINGS_FILE)
    return csv_by_stimulus(path, separator="\t", dataset="thingsplus")


def csv_by_stimulus(
    path: Path,
    stimulus: str | None = None,
    *,
    measures: Sequence[str] | None = None,
    separator: str | None = None,
    spelling: Callable[[str], str] = str.strip,
    dataset: str = "",
    quantity: str = "score",
    units: str = "a.u.",
) -> xr.DataArray:
    """Any table with one row per stimulus: (stimulus, measure, 0 s, 1).

    stimulus : the column of ids; without it, the first of `KEYS` that is there.
    measures : columns of numbers; without it, all that hold numbers alone, an empty cell being NaN. What else
    there is becomes a text coordinate `label_<column>`.
    spelling : what a cell becomes as an id, such as `stem_of`.  separator : by default, a tab for `.tsv`.
    Raises InputError, also for ids that appear twice or are empty.
    """
    path = find(path, SCORES_FILE)
    table = read_table(
        path, [stimulus] if stimulus else [], separator or ("\t" if path.suffix == ".tsv" else ",")
    )
    key = stimulus or next((name for name in KEYS if name in table.columns), None)
    if key is None:
        raise InputError(
            f"{path} has no column of stimuli; name one of {list(table.columns)[:8]}, or {KEYS[0]!r}"
        )
    rest = [name for name in table.columns if name and name != key]
    require(path, rest, measures or ())
    chosen = list(measures) if measures is not None else [name for name in rest if _numeric(table[name])]
    ids = _named(path, table[key], spelling)
    cube = _cube(path, table, ids, chosen, dataset=dataset or path.stem, quantity=quantity, units=units)
    labels = {f"label_{name}": (STIMULUS, texts(table[name])) for name in rest if name not in chosen}
    return cube.assign_coords(labels)


def read_csv(
    path: Path,
    *,
    stimulus: str | None = None,
    measures: Sequence[str] | None = None,
    separator: str | None = None,
    names: Literal["plain", "things"] = "plain",
    dataset: str = "",
    quantity: str = "score",
    units: str = "a.u.",
) -> Mapping[str, xr.DataArray]:
    """`scores`, of `csv_by_stimulus`; names="things" takes `images/dog/dog_12s.jpg` as `dog_12s`."""
    cube = csv_by_stimulus(
        path,
        stimulus,
        measures=measures,
        separator="\t" if separator in ("tab", "\\t") else separator,
        spelling=stem_of if names == "things" else str.strip,
        dataset=dataset,
        quantity=quantity,
        units=units,
    )
    return {"scores": cube}


def _cube(
    path: Path,
    table: pd.DataFrame,
    ids: Sequence[str],
    measures: Sequence[str],
    *,
    dataset: str,
    quantity: str,
    units: str = "a.u.",
) -> xr.DataArray:
    if not measures:
        raise InputError(f"{path} has no column of numbers; it has {list(table.columns)[:8]}")
    values = np.stack([numbers(path, table, name, missing=True) for name in measures], axis=1)
    if empty := [name for name, one in zip(measures, values.T, strict=True) if np.isnan(one).all()]:
        raise InputError(f"{path}: {empty[0]!r} holds no number at all")
    return cube_of(
        values[:, :, None, None],
        BEHAVIOUR,
        stimuli=unique(path, "its column of stimuli", list(ids)),
        units=measures,
        sources=[path],
        attrs={"quantity": quantity, "units": units, "dataset": dataset},
    )


def _named(path: Path, cells: Sequence[str], spelling: Callable[[str], str]) -> list[str]:
    try:
        return [spelling(one) for one in cells]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _numeric(cells: Any) -> bool:
    """Whether every cell that is not empty is a number, and some are."""
    filled = [one for one in cells if one.strip().lower() not in NONE]
    try:
        return bool(filled) and all(np.isfinite(float(one)) for one in filled)
    except ValueError:
        return False


def _reader(name: str, file: str, cube: str, read: Callable[[Path], xr.DataArray]) -> Reader:
    return Reader(name, DOCS[cube], (file,), lambda path: {cube: read(path)})


MEMORABILITY: Final = _reader("things-memorability", MEMORABILITY_FILE, "memorability", memorability)
CONCEPTS: Final = _reader("things-concepts", CONCEPTS_FILE, "concepts", concepts)
THINGSPLUS: Final = _reader("thingsplus", RATINGS_FILE, "ratings", ratings)
CSV: Final = Reader(
    "csv-by-stimulus",
    "Any CSV or TSV file with one row per stimulus: a column of ids, columns of numbers, labels.",
    (SCORES_FILE,),
    read_csv,
)
