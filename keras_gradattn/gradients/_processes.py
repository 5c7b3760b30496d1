"""Which of the processes that train together this one is."""

from typing import Any

import keras


def is_first_process(model: keras.Model) -> bool:
    """Whether this process writes for all; `True` where it trains alone.

    Args:
        model: The model that is trained.
    """
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.process_index() == 0
        case "tensorflow":
            # The chief, where several workers share a strategy.
            extended: Any = model.distribute_strategy.extended
            return bool(getattr(extended, "should_save_summary", True))
        case "torch":
            import torch.distributed

            distributed = torch.distributed
            if distributed.is_available() and distributed.is_initialized():
                return distributed.get_rank() == 0
    return True
