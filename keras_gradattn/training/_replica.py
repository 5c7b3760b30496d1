"""A further process of a training on several devices (PyTorch)."""

import pickle
import sys
from pathlib import Path

from keras_gradattn.training._train import train
from keras_gradattn.training.devices import TorchProcesses


def main() -> None:
    """Train what the first process says on standard input."""
    told = pickle.load(sys.stdin.buffer)
    data = told["data"]
    train(
        data.spec,
        told["recipe"],
        told["configuration"],
        Path(told["working"]),
        network=told["network"],
        splits=data.load(),
        engine=told["engine"],
        verbose=0,
        devices=TorchProcesses(told["count"], told["rank"], told["folder"]),
    )


if __name__ == "__main__":
    main()
