"""Fixtures of the tests of networks."""

import keras
import pytest


@pytest.fixture(autouse=True)
def step_traced_once(backend, monkeypatch):
    """Make the optimizer's variables early on TensorFlow, which traces again for them.

    Tracing is most of what a few steps cost there.
    """
    if backend != "tensorflow":
        return
    # Where it is defined: a model that had its own would not be compiled when loaded.
    (trainer,) = (c for c in keras.Model.__mro__ if "compile" in vars(c))
    compile_model = trainer.compile

    def compile_and_build(self, *arguments, **settings):
        compile_model(self, *arguments, **settings)
        if self.built and self.optimizer:
            self.optimizer.build(self.trainable_variables)

    monkeypatch.setattr(trainer, "compile", compile_and_build)
