"""Symptoms during training: pure functions from `Seen` to findings."""
