"""Matrix products keep float64."""

import keras
import numpy as np
import pytest

from keras_gradattn._kernels.matrix_product import matmul


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("right_shape", [(5, 4), (2, 5, 4)])
def test_float64_is_computed_in_float64(right_shape):
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 3, 5)), random.normal(size=right_shape)

    product = matmul(
        *(keras.ops.convert_to_tensor(a, "float64") for a in (left, right))
    )

    assert keras.backend.standardize_dtype(product.dtype) == "float64"
    # Single precision would be 1e-7 off.
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(product), left @ right, rtol=1e-12, atol=1e-14
    )
