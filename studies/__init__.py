"""Experiments of this project: protocol, cells, runs and report."""
