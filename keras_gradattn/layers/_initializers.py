"""Random weights at the start: PyTorch's ranges, the same numbers on every backend.

NumPy draws them. Each backend would draw other numbers from one seed, and XLA compiles
a program for every shape that it draws: on JAX a network of ours took ten times as long
to build, and those programs stayed in memory.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Shape = Sequence[int]


@keras.saving.register_keras_serializable(package="keras_gradattn")
class Uniform(keras.initializers.RandomUniform):
    """Uniform between `minval` and `maxval`, drawn by NumPy.

    Args:
        minval: Lower end of the range.
        maxval: Upper end of the range.
        seed: An integer; `None` (the default) draws one from Python's generator, which
            `keras.utils.set_random_seed` seeds.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return _drawn(self.seed, _uniform(shape, self.minval, self.maxval), dtype)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class Normal(keras.initializers.RandomNormal):
    """Normal with `mean` and `stddev`, drawn by NumPy.

    Args:
        mean: Mean of the distribution.
        stddev: Its standard deviation.
        seed: As of `Uniform`.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        return _drawn(self.seed, _normal(shape, self.mean, self.stddev), dtype)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class FanInUniform(keras.initializers.VarianceScaling):
    """Uniform within `1 / sqrt(fan_in)`, PyTorch's default for kernels.

    Args:
        seed: As of `Uniform`.
    """

    def __init__(self, seed: int | None = None):
        super().__init__(1 / 3, "fan_in", "uniform", seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        bound = math.prod(shape[:-1]) ** -0.5
        return _drawn(self.seed, _uniform(shape, -bound, bound), dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": super().get_config()["seed"]}


@keras.saving.register_keras_serializable(package="keras_gradattn")
class FanOutNormal(keras.initializers.VarianceScaling):
    """Normal with a variance of `2 / fan_out`, for convolutions before a ReLU.

    He et al. (2015, arXiv:1502.01852, section 2.2, the backward case); torchvision's
    choice for ResNets.

    Args:
        seed: As of `Uniform`.
    """

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_out", "untruncated_normal", seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        fan_out = math.prod(shape[:-2]) * shape[-1]
        return _drawn(self.seed, _normal(shape, 0.0, (2 / fan_out) ** 0.5), dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": super().get_config()["seed"]}


def _uniform(
    shape: Shape, low: float, high: float
) -> Callable[[np.random.Generator], np.ndarray]:
    def draw(generator: np.random.Generator) -> np.ndarray:
        return generator.random(shape, "float32") * (high - low) + low

    return draw


def _normal(
    shape: Shape, mean: float, stddev: float
) -> Callable[[np.random.Generator], np.ndarray]:
    def draw(generator: np.random.Generator) -> np.ndarray:
        return generator.standard_normal(shape, "float32") * stddev + mean

    return draw


def _drawn(
    seed: int, draw: Callable[[np.random.Generator], np.ndarray], dtype: Any
) -> Any:
    values = ops.convert_to_tensor(draw(np.random.default_rng(seed)))
    return ops.cast(values, dtype or keras.config.floatx())
