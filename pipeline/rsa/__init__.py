"""Representational similarity analysis: labels and laziness over the kernels.

`rdm` makes dissimilarities from a cube, `compare` scores RDMs against each other, `noise_ceiling` bounds
what any model could score, and `evaluate` brings them together as one result. Each returns at once;
computing is Dask's.
"""

from pipeline.rsa.ceiling import noise_ceiling
from pipeline.rsa.comparing import compare
from pipeline.rsa.evaluation import evaluate
from pipeline.rsa.rdms import rdm

__all__ = ["compare", "evaluate", "noise_ceiling", "rdm"]
