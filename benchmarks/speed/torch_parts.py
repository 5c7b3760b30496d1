"""The pieces of the PyTorch peer's training step."""

import torch

from benchmarks.speed.parts import STEP, UPDATE, forward, gradient
from benchmarks.speed.torch_steps import Steps, synchronised


def depths(steps: Steps) -> list[str]:
    """Names of the depths at which the network is cut, as Keras' are called."""
    stages = range(1, len(steps.module.stage_names) + 1)
    return ["stem", *(f"stage{stage}" for stage in stages), "head"]


def pieces(steps: Steps) -> dict[str, object]:
    """Functions by name; each runs once and waits for its end."""
    found = {}
    for stages, depth in enumerate(depths(steps)):
        run_forward = _loss_at(steps, depth, stages)

        def run_gradient(run_forward=run_forward):
            steps.optimizer.zero_grad()
            run_forward().backward()

        found[forward(depth)] = synchronised(run_forward)
        found[gradient(depth)] = synchronised(run_gradient)

    def update():
        for parameter in steps.module.parameters():
            if parameter.grad is None:
                parameter.grad = torch.full_like(parameter, 1e-3)
        steps.optimizer.step()

    found[UPDATE] = synchronised(update)
    found[STEP] = lambda: steps.run(1)
    return found


def _loss_at(steps, depth, stages):
    def run():
        if depth == "head":
            return steps.loss(steps.module(steps.images), steps.labels)
        return steps.module.features(steps.images, stages)[-1].square().mean()

    return run
