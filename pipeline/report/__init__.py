"""From results to something a person reads: one HTML page, a tidy table, a few words.

Knows results only: never a cluster, a network or a study.
"""

from pipeline.report.page import write
from pipeline.report.sections import shows
from pipeline.report.tables import table
from pipeline.report.words import words

__all__ = ["shows", "table", "words", "write"]
