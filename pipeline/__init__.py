"""Computation: lazy functions from cubes to labelled results, and the one writer of big cubes."""
