"""Narrow networks, fast enough for every test that is not about full-width numbers."""

import numpy as np

from tests.reference_numbers import NETWORKS

TRUNK = {"stage_filters": (8, 8, 16, 16)}
# One block a stage, for what a second one would only repeat.
ONE_BLOCK = {"stage_blocks": (1, 1, 1, 1)}
# What a step of training needs: to trace and compile more of the same takes minutes.
SHORT = {"stage_filters": (8, 16), "stage_blocks": (1, 1)}
HEAD = {"width": 16, "num_heads": 2, "feed_forward": 24, "num_layers": 2}


def narrow(network: str, num_classes: int = 3, **arguments):
    """One of the six networks, narrow."""
    head = HEAD if network.startswith("gradattn") else {}
    return NETWORKS[network](num_classes, **(TRUNK | head | arguments))


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32 images."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")
