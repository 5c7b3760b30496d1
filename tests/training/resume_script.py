"""Runs one tiny experiment; kills itself where it is told to.

Usage: python resume_script.py KILL_AT_STEP RESULTS...

One run after the other, each into a folder of its own; step 0 kills none.
"""

import os
import signal
import sys
import unittest.mock

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
    "stage_filters": (4, 8),
    "stage_blocks": (1, 1),
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


def run(results):
    """The experiment; averages of BatchNorm's statistics begin within its few steps."""
    with (
        unittest.mock.patch.multiple(_training_loop, _STRIDE=3, _FORGOTTEN=6),
        # They come after the training and take longest to compile.
        unittest.mock.patch.object(
            experiment, "analyze_gradients", return_value={"layers": []}
        ),
        unittest.mock.patch.object(
            experiment, "analyze_depth_weights", return_value={}
        ),
    ):
        return training.run(
            "digits",
            "gradattn_v2",
            RECIPE,
            results=results,
            limit=96,
            model_options=NARROW,
            save_model=True,
            pictures=False,
            verbose=0,
        )


if __name__ == "__main__":
    step, *folders = sys.argv[1:]
    kill_at(int(step))
    for folder in folders:
        run(folder)
        print(f"finished {folder}", file=sys.stderr)
