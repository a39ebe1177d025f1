"""study.yaml -> steps -> verbs: what is asked, what is there already, and what is done next."""

from pipeline.study.run import Listener, Run, check, import_cubes, run_study
from pipeline.study.schema import Study, StudyError, read_study

__all__ = ["Listener", "Run", "Study", "StudyError", "check", "import_cubes", "read_study", "run_study"]
