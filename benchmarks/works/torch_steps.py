"""Steps of the PyTorch peer, as a plain training loop takes them."""

import importlib
from typing import Any

import torch

from benchmarks.harness.session import Work
from benchmarks.works.peers import PEERS
from benchmarks.works.task import LEARNING_RATE, WEIGHT_DECAY, Task

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class TorchSteps(Work):
    """One network, its batch, and steps on it; see `torch_contender`."""

    def __init__(self, task: dict[str, Any], how: str, channels_last: bool):
        self.task, self.how = Task(**task), how
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        if how == "compile":
            importlib.import_module("torch._inductor.compile_fx")
        torch.zeros(1, device=DEVICE)

    def build(self) -> None:
        torch.manual_seed(0)
        task = self.task
        network = PEERS[task.network]
        module = network(task.num_classes, task.channels, **task.arguments)
        self.module = module.to(DEVICE, memory_format=self.layout)
        self.module.train(task.mode == "training")
        images, labels = map(torch.from_numpy, task.random_batch())
        channels_first = images.to(DEVICE).permute(0, 3, 1, 2)
        self.images = channels_first.contiguous(memory_format=self.layout)
        self.labels = labels.long().to(DEVICE)

    def compile(self) -> None:
        compiled = self.how == "compile"
        self.forward = torch.compile(self.module) if compiled else self.module
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(
            self.module.parameters(),
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            fused=self.how == "fused-adam" or None,
        )

    def run(self, count: int, part: str) -> float:
        step = self._train if self.task.mode == "training" else self._infer
        for _ in range(count):
            step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return count

    def details(self) -> dict[str, Any]:
        parameters = sum(p.numel() for p in self.module.parameters())
        return {"parameters": parameters, "images": self.task.batch}

    def _autocast(self) -> torch.autocast:
        half = self.task.precision == "mixed_bfloat16"
        return torch.autocast(DEVICE, torch.bfloat16, enabled=half)

    def _train(self) -> None:
        self.optimizer.zero_grad()
        with self._autocast():
            loss = self.loss(self.forward(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def _infer(self) -> None:
        with torch.inference_mode(), self._autocast():
            self.forward(self.images)
