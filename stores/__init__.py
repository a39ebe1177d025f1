"""Data at rest: labelled cubes in Zarr, written once, checked always, joined by id."""

from stores.align import Aligned, AlignReport, align
from stores.catalog import catalog
from stores.create import writing
from stores.errors import (
    AlignError,
    CorruptError,
    FullError,
    IncompleteError,
    InputError,
    KeyMismatchError,
    LockedError,
    NotFoundError,
    SchemaError,
    StoreError,
)
from stores.guard import require_own
from stores.label import label
from stores.notes import notes, write_note
from stores.opening import open_cube, reblock
from stores.simulate import simulate
from stores.simulate_brains import simulate_subjects
from stores.target import Receipt, Target
from stores.validate import validate
from stores.verify import Fault, verify
from stores.write import finish, save, write_region

require_own("pipeline")

__all__ = [
    "AlignError",
    "AlignReport",
    "Aligned",
    "CorruptError",
    "Fault",
    "FullError",
    "IncompleteError",
    "InputError",
    "KeyMismatchError",
    "LockedError",
    "NotFoundError",
    "Receipt",
    "SchemaError",
    "StoreError",
    "Target",
    "align",
    "catalog",
    "finish",
    "label",
    "notes",
    "open_cube",
    "reblock",
    "save",
    "simulate",
    "simulate_subjects",
    "validate",
    "verify",
    "write_note",
    "write_region",
    "writing",
]
