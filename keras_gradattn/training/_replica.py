"""A further process of a training on several devices (PyTorch)."""

import pickle
import sys
from pathlib import Path

from keras_gradattn import datasets
from keras_gradattn.training._train import train
from keras_gradattn.training.devices import TorchProcesses


def main() -> None:
    """Train what the first process says on standard input."""
    told = pickle.load(sys.stdin.buffer)
    splits = datasets.load(told["configuration"]["dataset"], **told["data"])
    train(
        datasets.spec(told["configuration"]["dataset"]),
        told["recipe"],
        told["configuration"],
        Path(told["working"]),
        splits=splits,
        engine=told["engine"],
        verbose=0,
        devices=TorchProcesses(told["count"], told["rank"], told["folder"]),
    )


if __name__ == "__main__":
    main()
