"""The gradient noise scale, from gradients of two batch sizes.

Source: McCandlish et al. (2018), "An empirical model of large-batch training",
arXiv:1812.06162, appendix A.1.
"""

from typing import Any

import numpy as np

# Steps over which both estimates are averaged before their ratio is taken: each alone
# is noisy, and the ratio of noisy numbers is biased (appendix A.1).
_HALF_LIFE = 20


def two_size_estimate(
    small_squared: np.ndarray, big_squared: np.ndarray, small: Any, big: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased estimates from squared gradient norms of two batch sizes.

    |G|^2 = (big |G_big|^2 - small |G_small|^2) / (big - small) and
    S = (|G_small|^2 - |G_big|^2) / (1/small - 1/big) (equations A.2 and A.3).

    Args:
        small_squared: Mean squared norm of gradients of the smaller batch.
        big_squared: Squared norm of the gradient of the larger batch.
        small: Samples (or micro-batches) of the smaller batch.
        big: Those of the larger batch.

    Returns:
        Squared norm of the true gradient, and trace of the covariance of the gradient
        of one sample (or micro-batch).
    """
    gradient = (big * big_squared - small * small_squared) / (big - small)
    noise = (small_squared - big_squared) / (1 / small - 1 / big)
    return gradient, noise


class BatchSizes:
    """Squared gradient norms of two batch sizes, paired as rows come in.

    Rows are paired before any is dropped: an update's micro-batches are several.
    """

    def __init__(self) -> None:
        self._step = np.zeros(0)
        self._squares = np.zeros(0)

    def __call__(
        self,
        step: np.ndarray,
        global_norm: np.ndarray,
        accumulated_norm: np.ndarray | None,
        local_squares: np.ndarray | None,
        parts: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean square of the smaller batches, and square of the larger one, by row.

        Args:
            step: (rows,) steps of rows that follow those of the last call.
            global_norm: (rows,) norm of each row's gradient.
            accumulated_norm: (rows,) norm of the mean over the micro-batches of an
                update, in the row of the last one, and 0 in the others.
            local_squares: (rows,) mean over replicas of their squared norms.
            parts: Micro-batches or replicas that make one update.

        Returns:
            Two vectors, NaN in rows that have no pair.
        """
        small, big = np.full((2, len(step)), np.nan)
        squares = np.square(global_norm)
        if parts < 2:
            return small, big
        if local_squares is not None:
            return local_squares, squares
        if accumulated_norm is None:
            return small, big
        before = len(self._step)
        self._step = np.concatenate([self._step, step])
        self._squares = np.concatenate([self._squares, squares])
        for row in np.flatnonzero(accumulated_norm > 0):
            end = before + row + 1
            first = end - parts
            if first >= 0 and self._step[end - 1] - self._step[first] == parts - 1:
                small[row] = self._squares[first:end].mean()
                big[row] = np.square(accumulated_norm[row])
        self._step, self._squares = self._step[-parts:], self._squares[-parts:]
        return small, big


def noise_scale_of(
    step: np.ndarray,
    running_step: np.ndarray,
    small_squared: np.ndarray,
    big_squared: np.ndarray,
    parts: np.ndarray,
) -> dict[str, np.ndarray] | None:
    """Noise by update of a training that measured gradients of two batch sizes.

    Args:
        step, running_step: (updates,) steps of the updates.
        small_squared, big_squared: (updates,) what `BatchSizes` gives.
        parts: (updates,) micro-batches or replicas that made the update.

    Returns:
        Arrays by name, `None` where only one batch size was measured.
    """
    if not len(step):
        return None
    gradient, noise = two_size_estimate(small_squared, big_squared, 1, parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _averaged(noise) / _averaged(gradient)
    return {
        "step": step.astype("int64"),
        "running_step": running_step.astype("int64"),
        "gradient_squared": gradient,
        "noise": noise,
        "noise_scale": ratio,
    }


def _averaged(values: Any) -> Any:
    """Exponential moving average, unbiased at its beginning."""
    keep = 0.5 ** (1 / _HALF_LIFE)
    average, weight, averages = 0.0, 0.0, []
    for value in values:
        average = keep * average + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        averages.append(average / weight)
    return np.array(averages)
