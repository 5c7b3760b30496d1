"""Steps of the PyTorch peer, as a plain training loop takes them."""

import contextlib
import importlib

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.contenders import (
    LEARNING_RATE,
    WEIGHT_DECAY,
    Contender,
    Task,
)
from benchmarks.speed.peers import peer
from benchmarks.speed.random_batch import random_batch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_AUTOCAST = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


def imports(contender: Contender) -> None:
    """Load what the steps need and find the device, before memory is measured."""
    if contender.torch_compile:
        importlib.import_module("torch._inductor.compile_fx")
    torch.zeros(1, device=DEVICE)


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


class Steps:
    """One network, its batch, and steps on it."""

    def __init__(self, contender: Contender, task: Task):
        torch.manual_seed(0)
        memory_format = (
            torch.channels_last if contender.channels_last else torch.contiguous_format
        )
        self.task = task
        self.module = peer(
            task.network, task.num_classes, task.channels, **task.arguments
        ).to(DEVICE, memory_format=memory_format)
        self.module.train(task.mode == "training")
        images, labels = random_batch(task)
        self.images = torch.from_numpy(images).to(DEVICE)
        if images.ndim == 4:
            channels_first = self.images.permute(0, 3, 1, 2)
            self.images = channels_first.contiguous(memory_format=memory_format)
        self.labels = torch.from_numpy(labels).long().to(DEVICE)
        self.compiled = contender.torch_compile
        self.fused_adam = contender.fused_adam

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    @property
    def details(self) -> dict[str, object]:
        return {"threads": torch.get_num_threads()}

    def compile(self) -> None:
        self.forward = torch.compile(self.module) if self.compiled else self.module
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(
            self.module.parameters(),
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            fused=self.fused_adam or None,
        )
        float16 = self.task.precision == "mixed_float16"
        self.scaler = torch.amp.GradScaler(DEVICE, enabled=float16)

    def run(self, count: int) -> int:
        """Run `count` steps and wait for the last."""
        step = self._train if self.task.mode == "training" else self._infer
        for _ in range(count):
            step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return count

    def _autocast(self):
        dtype = _AUTOCAST.get(self.task.precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(DEVICE, dtype)

    def _train(self) -> None:
        self.optimizer.zero_grad()
        with self._autocast():
            loss = self.loss(self.forward(self.images), self.labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _infer(self) -> None:
        with torch.inference_mode(), self._autocast():
            self.forward(self.images)

    def operations_per_step(self) -> int:
        """Floating-point operations of convolutions and matrix products, dense."""
        with torch.device("meta"):
            module = peer(
                self.task.network,
                self.task.num_classes,
                self.task.channels,
                **self.task.arguments,
            )
            images = torch.empty(self.images.shape)
        # Batch statistics need more than one image.
        module.train(self.task.mode == "training")
        with FlopCounterMode(display=False) as counter:
            outputs = module(images)
            if self.task.mode == "training":
                outputs.sum().backward()
        return counter.get_total_flops()

    def device_peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None
