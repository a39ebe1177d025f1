"""study.yaml -> steps -> verbs: what is asked, what is there already, and what is done next."""

from pipeline.study.check import check
from pipeline.study.imports import described, import_cubes, is_big
from pipeline.study.reading import read_study
from pipeline.study.run import Listener, Run
from pipeline.study.schema import Study, StudyError
from pipeline.study.steps import run_study

__all__ = [
    "Listener",
    "Run",
    "Study",
    "StudyError",
    "check",
    "described",
    "import_cubes",
    "is_big",
    "read_study",
    "run_study",
]
