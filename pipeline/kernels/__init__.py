"""Arithmetic: arrays in, arrays out; no labels, graphs, files, logging or globals."""
