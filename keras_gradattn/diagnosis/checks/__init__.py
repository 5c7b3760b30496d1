"""Checks before training: small functions from a `Subject` to findings."""
