"""What stands on undocumented names of PyTorch, with them and without."""

import sys

import numpy as np
import pytest
import torch

from keras_gradattn._compat import torch as torch_compat

pytestmark = pytest.mark.any_backend


def test_norms_are_the_same_one_by_one(monkeypatch):
    random = np.random.default_rng(0)
    tensors = [torch.tensor(random.normal(size=s)) for s in [(3, 4), (5,), ()]]

    together = torch_compat.norms(tensors)
    monkeypatch.delattr(torch, "_foreach_norm")
    one_by_one = torch_compat.norms(tensors)

    expected = [float(np.linalg.norm(t.numpy())) for t in tensors]
    np.testing.assert_allclose(together, expected, rtol=1e-12)
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)])
def test_batches_are_normalised_alike(monkeypatch, shape):
    random = np.random.default_rng(0)
    inputs = torch.tensor(random.normal(2, 3, size=shape), requires_grad=True)
    gamma, beta = (torch.tensor(random.normal(size=3)) for _ in range(2))

    def results():
        found = torch_compat.normalized(inputs, gamma, beta, 1e-3)
        (gradient,) = torch.autograd.grad((found[0] ** 3).sum(), inputs)
        return [one.detach().numpy() for one in (*found, gradient)]

    native = results()
    monkeypatch.delattr(torch, "native_batch_norm")
    documented = results()

    axes = (0, *range(2, len(shape)))
    values = inputs.detach().numpy()
    np.testing.assert_allclose(native[1], values.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(native[2], (values.var(axes) + 1e-3) ** -0.5, rtol=1e-12)
    for one, other in zip(native, documented, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_without_a_tracer_nothing_is_captured_and_it_is_said(monkeypatch):
    double = torch_compat.operations_of(lambda x: x + x, torch.ones(2))
    assert double is not None
    np.testing.assert_array_equal(double(torch.tensor([1.0, 3.0])), [2.0, 6.0])

    monkeypatch.setitem(sys.modules, "torch.fx.experimental.proxy_tensor", None)
    with pytest.warns(RuntimeWarning, match="not captured: this PyTorch has no"):
        assert torch_compat.operations_of(lambda x: x, torch.ones(2)) is None
