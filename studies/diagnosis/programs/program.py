"""A program is three tables of values; a fault is a changed value."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from studies.diagnosis.programs.data import SOURCES


@dataclass(frozen=True)
class Data:
    """What a program learns from.

    Args:
        source: A name in `SOURCES`.
        rows: Training rows; as many rows again are for validation.
        label_noise: Share of training labels drawn anew; noise of targets in units of
            their deviation.
        scale: The inputs' deviation after standardising.
        faults: Names in `data.FAULTS`, applied in this order.
    """

    source: str
    rows: int = 320
    label_noise: float = 0.0
    scale: float = 1.0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """The network between the data's shape and its classes.

    Args:
        kind: A name in `networks.KINDS`.
        width: Units or channels.
        depth: Hidden layers.
        activation: Of hidden layers; `None` is none at all.
        norm: `"batch"`, `"layer"` or `None`.
        momentum: BatchNorm's.
        dropout: Rate after each hidden layer.
        initializer: Of hidden kernels, as keras takes it.
        bias: First value of hidden biases.
        l2: Kernel regulariser of hidden layers.
        output: Activation of the last layer; `"task"` is what the task asks for.
        units: Units of the last layer; `None` is what the task asks for.
        faults: Names of wiring faults that `networks` knows.
    """

    kind: str = "dense"
    width: int = 16
    depth: int = 2
    activation: str | None = "relu"
    norm: str | None = None
    momentum: float = 0.9
    dropout: float = 0.0
    initializer: Any = "glorot_uniform"
    bias: float = 0.0
    l2: float = 0.0
    output: str | None = "task"
    units: int | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """How a program trains.

    Args:
        optimizer: A name that keras knows.
        learning_rate: A number, or a name in `running.SCHEDULES`.
        options: Further arguments of the optimizer.
        batch_size: Rows a step.
        epochs: Passes over the rows.
        loss: A name in `running.LOSSES`; `"task"` is what the task and the last
            activation ask for.
        shuffle: As `fit` takes it.
        policy: Dtype policy.
        unfreeze: Epochs after which a frozen backbone trains too.
    """

    optimizer: str = "adam"
    learning_rate: float | str = 0.008
    options: tuple[tuple[str, Any], ...] = ()
    batch_size: int = 32
    epochs: int = 14
    loss: str = "task"
    shuffle: bool = True
    policy: str = "float32"
    unfreeze: int | None = None


@dataclass(frozen=True)
class Program:
    """One training.

    Args:
        name: Unique; its hash says the half that it is in.
        family: The row of the healthy table that it counts in.
        data: What it learns from.
        network: The network.
        training: How it trains.
        floor: The least validation accuracy, or R squared, at which we call it healthy.
            `None` is the source's.
        base: The healthy program that a fault was put into; its own name if healthy.
        kind: The fault's kind, `None` if healthy.
    """

    name: str
    family: str
    data: Data
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    floor: float | None = None
    base: str = ""
    kind: str | None = None

    @property
    def task(self) -> str:
        """`"classes"`, `"binary"` or `"number"`."""
        return SOURCES[self.data.source].task

    @property
    def least(self) -> float:
        """The metric from which the program counts as healthy."""
        return SOURCES[self.data.source].floor if self.floor is None else self.floor

    def changed(self, part: str, **values: Any) -> "Program":
        """A copy with some values of one of its three tables replaced."""
        table = dataclasses.replace(getattr(self, part), **values)
        return dataclasses.replace(self, **{part: table})

    def with_fault(self, part: str, name: str) -> "Program":
        """A copy with one more named fault in its data or network."""
        return self.changed(part, faults=(*getattr(self, part).faults, name))
