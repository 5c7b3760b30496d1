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
    small_squared: np.ndarray, big_squared: np.ndarray, small: float, big: float
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


def noise_scale_of(
    step: np.ndarray,
    running_step: np.ndarray,
    global_norm: np.ndarray,
    accumulated_norm: np.ndarray,
    local_squares: np.ndarray,
    parts: int,
) -> dict[str, np.ndarray] | None:
    """Noise by update of a training that measured gradients of two batch sizes.

    Args:
        step, running_step: (rows,) steps of the rows.
        global_norm: (rows,) norm of each row's gradient.
        accumulated_norm: (rows,) norm of the mean over the micro-batches of an update,
            in the row of the last one; NaN in the others.
        local_squares: (rows,) mean over replicas of their squared norms, NaN if alone.
        parts: Micro-batches or replicas that make one update.

    Returns:
        Arrays by name, `None` where only one batch size was measured.
    """
    if parts < 2:
        return None
    if np.any(np.isfinite(local_squares)):
        chosen = np.flatnonzero(np.isfinite(local_squares))
        small, big = local_squares[chosen], np.square(global_norm[chosen])
    else:
        # Zero where the row's micro-batch did not end an update.
        ends = np.flatnonzero(np.nan_to_num(accumulated_norm) > 0)
        chosen = np.array([i for i in ends if _complete(step, i, parts)], dtype=int)
        squares = np.square(global_norm)
        small = np.array([squares[i + 1 - parts : i + 1].mean() for i in chosen])
        big = np.square(accumulated_norm[chosen])
    if not len(chosen):
        return None
    gradient, noise = two_size_estimate(small, big, 1, parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _averaged(noise) / _averaged(gradient)
    return {
        "step": step[chosen],
        "running_step": running_step[chosen],
        "gradient_squared": gradient,
        "noise": noise,
        "noise_scale": ratio,
    }


def _complete(step: Any, row: Any, parts: Any) -> Any:
    first = row + 1 - parts
    return first >= 0 and step[row] - step[first] == parts - 1


def _averaged(values: Any) -> Any:
    """Exponential moving average, unbiased at its beginning."""
    keep = 0.5 ** (1 / _HALF_LIFE)
    average, weight, averages = 0.0, 0.0, []
    for value in values:
        average = keep * average + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        averages.append(average / weight)
    return np.array(averages)
