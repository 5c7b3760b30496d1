"""Faster ways to compute the same, each with its switch, its test and its benchmark."""
