"""What the validation accuracy decides: learning rate, best epoch, end of training.

Plain data that goes into a checkpoint as it is. Neither rule has a minimum delta:
one image more is an improvement.
"""

import dataclasses
import math


@dataclasses.dataclass
class PlateauRule:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau(mode="max", threshold=0)`.

    `patience` epochs without improvement are tolerated, the next one reduces:
    Keras' callback reduces one epoch sooner for the same number.
    """

    factor: float
    patience: int
    minimum: float
    best: float = -math.inf
    bad_epochs: int = 0

    def next_rate(self, accuracy: float, rate: float) -> float:
        """The learning rate of the next epoch."""
        if accuracy > self.best:
            self.best, self.bad_epochs = accuracy, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs <= self.patience:
            return rate
        self.bad_epochs = 0
        return max(rate * self.factor, self.minimum)


@dataclasses.dataclass
class BestEpoch:
    """Remembers the best epoch and says when patience has run out."""

    patience: int | None
    best: float = -math.inf
    epoch: int = 0
    waited: int = 0

    def is_best(self, epoch: int, accuracy: float) -> bool:
        """Take in one epoch's validation accuracy (epochs count from 1)."""
        # The first epoch always counts, so that there is something to restore.
        if accuracy > self.best or self.epoch == 0:
            self.best, self.epoch, self.waited = accuracy, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def patience_is_over(self) -> bool:
        return self.patience is not None and self.waited >= self.patience
