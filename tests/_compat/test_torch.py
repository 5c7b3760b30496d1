"""PyTorch's norms of many tensors, with and without their one kernel."""

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
