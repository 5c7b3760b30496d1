"""What competes on what: plain data that travels to the worker processes."""

from dataclasses import asdict, dataclass, field
from typing import Any

BACKENDS = ("jax", "tensorflow", "torch")
NETWORKS = (
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "ResNet18",
    "SEResNet18",
    "CBAMResNet18",
)
ENCODER_WIDTH = 256
# The published training: Adam with its decay in the gradient.
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
MODES = ("training", "inference")


@dataclass(frozen=True)
class Task:
    """One network on one kind of batch: what all contenders of a table share.

    `network` is one of `NETWORKS`, or `"Encoder"`: V1's encoder blocks and classifier
    alone, on `arguments["tokens"]` tokens.
    """

    network: str = "GradAttnV1"
    size: int = 28
    channels: int = 1
    num_classes: int = 10
    batch: int = 128
    precision: str = "float32"
    mode: str = "training"
    # Sizes that both our networks and their peers take.
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example: an image, or the tokens of the encoder alone."""
        if self.network == "Encoder":
            return (self.arguments["tokens"], ENCODER_WIDTH)
        return (self.size, self.size, self.channels)

    @property
    def title(self) -> str:
        shape = " x ".join(str(length) for length in self.input_shape)
        return (
            f"{self.network}, {self.mode}, {shape}, batch {self.batch}, "
            f"{self.precision}"
        )


@dataclass(frozen=True)
class Contender:
    """One implementation, which a process of its own runs.

    Attributes:
        name: As it stands in the table.
        engine: `"keras"` (this package), `"keras_hub"` or `"pytorch"` (the peer).
        backend: Keras' backend; of the peer `"torch"`.
        convolution_form: As `keras_gradattn.config.convolution` takes it.
        jit: `compile(jit_compile=...)`; `None` leaves the choice to Keras.
        steps_per_execution: As `compile` takes it.
        static_shape: Whether the network is built for the image's size, not for any.
        torch_compile: Whether the peer is compiled by `torch.compile`.
        channels_last: Whether the peer and its images are kept channels-last.
        fused_adam: Whether the peer's optimizer is told to use its fused kernel, which
            PyTorch does not choose by itself.
        network: Of this package, where it is another than the task's.
        arguments: Of the network, beside the task's.
    """

    name: str
    engine: str
    backend: str
    convolution_form: str = "auto"
    jit: bool | None = None
    steps_per_execution: int = 1
    static_shape: bool = False
    torch_compile: bool = False
    channels_last: bool = False
    fused_adam: bool = False
    network: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def is_reference(self) -> bool:
        """Whether this is the peer as it comes, which all others are compared with."""
        return self.engine == "pytorch" and not (self.torch_compile or self.fused_adam)


def _peer(how: str, **options: bool) -> Contender:
    name = " ".join(["pytorch", how] + ["channels-last"] * options["channels_last"])
    return Contender(name, "pytorch", "torch", **options)


PEERS = tuple(
    _peer(
        how,
        channels_last=channels_last,
        torch_compile=how == "compile",
        fused_adam=how == "fused-adam",
    )
    for how in ("eager", "fused-adam", "compile")
    for channels_last in (False, True)
)


def ours(backend: str, **options: Any) -> Contender:
    """This package's network on one backend."""
    return Contender(f"keras {backend}", "keras", backend, **options)


def stock(backend: str, **options: Any) -> Contender:
    """The same network, every convolution left to the backend as Keras does it."""
    options["convolution_form"] = "backend"
    return Contender(f"keras {backend} stock", "keras", backend, **options)


def keras_hub(backend: str, **options: Any) -> Contender:
    """KerasHub's ResNet backbone set up as ResNet-18."""
    return Contender(f"keras-hub {backend}", "keras_hub", backend, **options)


def as_request(contender: Contender, task: Task) -> dict[str, Any]:
    """Both as JSON takes them."""
    return {"contender": asdict(contender), "task": asdict(task)}


def from_request(request: dict[str, Any]) -> tuple[Contender, Task]:
    """What `as_request` was given."""
    return Contender(**request["contender"]), Task(**request["task"])
