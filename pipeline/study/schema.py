"""What a study may say, as frozen records; what it says wrong, in words."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

LISTED: Final = 10
"""Names in one message, at most."""


class StudyError(ValueError):
    """The study file asks for something that cannot be; the message lists every fault found."""


Names = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
"""Names or patterns of cubes; one alone needs no list."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Labels(_Strict):
    """Scores and labels of stimuli, from a cube of behaviour: `names` of it, or all, joined `by` id."""

    cube: str
    names: list[str] = Field(default_factory=list)
    by: str = "stimulus"


class ImportStep(_Strict):
    """Files of a dataset become cubes."""

    verb: Literal["import"]
    reader: str
    path: str | list[str]
    into: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    allow_pickle: bool = False
    labels: list[Labels] = Field(default_factory=list)


class PreprocessStep(_Strict):
    """Recordings of MEG or EEG become cubes of trials, one for each subject and kind of channel.

    recordings : "ds000117" as measured, "ds000117-sss" after MaxFilter, or "table": a .csv or .tsv with the
    columns recording, events, subject and run. clean, epoch : fields of `CleanSettings` and `EpochSettings` that
    differ from the preset's. stimulus : column of a table of events that holds ids.
    """

    verb: Literal["preprocess"]
    recordings: Literal["table", "ds000117", "ds000117-sss"]
    path: str
    into: str = ""
    subjects: list[str] = Field(default_factory=list)
    preset: str = ""
    kinds: list[Literal["mag", "grad", "eeg"]] = Field(default_factory=list)
    clean: dict[str, Any] = Field(default_factory=dict)
    epoch: dict[str, Any] = Field(default_factory=dict)
    stimulus: str = "stim_file"
    dataset: str = ""


class ExtractStep(_Strict):
    """Layers of a network become activation cubes."""

    verb: Literal["extract"]
    network: str
    layers: list[str] = Field(min_length=1)
    stimuli: str | None = None
    folder: str | None = None
    on_error: Literal["raise", "skip"] = "raise"
    weights: str | None = None
    untrained: int | None = Field(default=None, ge=0)
    transform: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    batch: int = Field(default=16, ge=1)
    dtype: Literal["float32", "float16"] = "float32"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _one_source(self) -> "ExtractStep":
        if (self.stimuli is None) == (self.folder is None):
            raise ValueError("give either 'stimuli' (a cube of images) or 'folder' (image files)")
        if self.weights is not None and self.untrained is not None:
            raise ValueError("give either 'weights' or 'untrained' (a seed), not both")
        return self


class RsaStep(_Strict):
    """Geometry of candidates against measured geometry, with its noise ceiling."""

    verb: Literal["rsa"]
    candidates: Names = Field(min_length=1)
    reference: Names = Field(min_length=1)
    by: str | None = None
    metric: Literal["correlation", "euclidean", "cosine"] = "correlation"
    method: Literal["corr", "spearman", "cosine", "rho-a", "tau-a"] = "spearman"
    join: Literal["exact", "inner"] = "exact"


class ReportStep(_Strict):
    """Results become one page."""

    verb: Literal["report"]
    file: str = "report.html"
    title: str | None = None
    results: Names = Field(default_factory=lambda: ["rsa/*"])


Step = Annotated[
    ImportStep | PreprocessStep | ExtractStep | RsaStep | ReportStep, Field(discriminator="verb")
]
STEPS: Final[dict[str, type[BaseModel]]] = {
    "import": ImportStep,
    "preprocess": PreprocessStep,
    "extract": ExtractStep,
    "rsa": RsaStep,
    "report": ReportStep,
}


class Study(_Strict):
    """What is asked: a store, and named steps in the order in which they run."""

    title: str
    about: str = ""
    variables: dict[str, str | None] = Field(default_factory=dict)
    store: str
    steps: dict[str, Step] = Field(min_length=1)


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or what there is to choose from: of many, those most like it."""
    names = [str(name) for name in known]
    if close := difflib.get_close_matches(word, names, n=1):
        return f"; did you mean {close[0]!r}?"
    if (more := len(names) - LISTED) > 0:
        names = difflib.get_close_matches(word, names, n=LISTED, cutoff=0)
        return f"; there are {', '.join(names)} and {more} more"
    return f"; there are {', '.join(names)}" if names else ""


def parsed(tree: Mapping[str, Any], faults: list[str]) -> Study | None:
    """The study that a tree of YAML is; None where it is none, which `faults` then tells."""
    try:
        return Study.model_validate(tree)
    except ValidationError as found:
        faults += [_words(dict(error)) for error in found.errors()]
        return None


def _words(error: Mapping[str, Any]) -> str:
    """One pydantic fault as a sentence about the study."""
    place = [str(part) for part in error["loc"]]
    model: type[BaseModel] = Study
    if len(place) > 2 and place[0] == "steps" and place[2] in STEPS:
        model = STEPS[place.pop(2)]
    where = ".".join(place)
    if error["type"] == "extra_forbidden":
        return f"unknown key {where!r}{near(place[-1], model.model_fields)}"
    if error["type"] == "missing":
        return f"{where!r} is missing"
    if error["type"].startswith("union_tag"):
        given = error["input"].get("verb") if isinstance(error["input"], dict) else error["input"]
        return f"{where}: verb is {given!r}{near(str(given), STEPS)}"
    given = error["input"]
    shown = "" if isinstance(given, dict | list) else f" (it is {given!r})"
    text = error["msg"].removeprefix("Value error, ")
    return f"{where}: {text[:1].lower()}{text[1:]}{shown}{_near_choice(error)}"


def _near_choice(error: Mapping[str, Any]) -> str:
    if error["type"] != "literal_error":
        return ""
    choices = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    return near(str(error["input"]), choices) if choices else ""
