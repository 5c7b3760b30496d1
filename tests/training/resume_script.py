"""Runs one tiny experiment; kills itself where it is told to.

Usage: python resume_script.py RESULTS [KILL_AT_STEP]
"""

import os
import signal
import sys

from keras_gradattn import training
from keras_gradattn.training import _training_loop, experiment

RECIPE = training.Recipe(
    name="everything",
    # Every kind of state that a checkpoint must hold.
    plateau_patience=0,
    early_stopping_patience=3,
    max_epochs=4,
    ema_momentum=0.8,
    mixup=0.2,
    label_smoothing=0.1,
    batch_size=16,
)

NARROW = {
    "stage_filters": (4, 4, 8, 8),
    "stage_blocks": (1, 1, 1, 1),
    "width": 8,
    "num_heads": 2,
    "feed_forward": 8,
    "num_layers": 1,
}


def kill_at(step):
    original = _training_loop.TrainingLoop.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        if self.steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    _training_loop.TrainingLoop.on_train_batch_end = on_train_batch_end


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_at(int(sys.argv[2]))
    # It comes after the training and takes longest to compile.
    experiment.analyze_gradients = lambda *arguments: None
    training.run(
        "digits",
        "gradattn_v2",
        RECIPE,
        results=sys.argv[1],
        limit=96,
        model_options=NARROW,
        save_model=True,
        pictures=False,
        verbose=0,
    )
