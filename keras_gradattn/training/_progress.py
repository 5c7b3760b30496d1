"""How fast a training is, and how long it will last."""

import sys
from typing import Any

import keras

from keras_gradattn.training._training_loop import TrainingLoop

# Epochs whose mean length says how long the others will be.
_RECENT = 5


class Progress(keras.callbacks.Callback):
    """One line after each epoch: images a second, and the time that is left.

    Args:
        loop: Its history has the epochs' lengths; it stands before this callback.
        images: Images of an epoch.
        epochs: Epochs of the whole training.
    """

    def __init__(self, loop: TrainingLoop, images: int, epochs: int):
        super().__init__()
        self._loop = loop
        self._images = images
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        lengths = [record["seconds"] for record in self._loop.history]
        recent = lengths[-_RECENT:]
        mean = sum(recent) / len(recent)
        left = 0 if self._loop.finished else self._epochs - len(lengths)
        print(
            f"epoch {len(lengths)} of {self._epochs}: "
            f"{self._images / lengths[-1]:,.0f} images/s, "
            f"{duration(left * mean)} left at most",
            file=sys.stderr,
            flush=True,
        )


def duration(seconds: float) -> str:
    """A length of time that one can take in: `40 s`, `12 min`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
