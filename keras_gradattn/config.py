"""Every switch of the package, and the only place that changes the process it runs in.

To import the package, or to make or train a model, changes nothing outside of these
objects. Whoever wants more calls a function of this module. Call it before the first
step, because a choice is read when a step is traced. `python -m benchmarks.tricks`
measures what each switch is worth.

`training.run` is a whole experiment, and does more: it sets the seeds of Python, NumPy
and the backend, and takes the devices that it is given.
"""

import os
import warnings

import keras

from keras_gradattn._compat import jax as jax_compat
from keras_gradattn._compat import tensorflow as tensorflow_compat

CONVOLUTIONS = ("auto", "taps", "backend")

# Kernel, and what it computes faster. All are in use until they are switched off.
KERNELS = {
    "adam": "on PyTorch its fused Adam, for `CoupledAdam`",
    "batch_normalization": "on PyTorch its own kernel, in float32",
    "memory_layout": "on PyTorch convolution and pooling without copying maps",
}

# Option of XLA, and the value that these networks want on a CPU.
_XLA_OPTIONS = {
    # YNNPACK, XLA's default for convolutions, takes 1.3 to 2.5 times as long as Eigen
    # on the maps of these networks. Its matrix products and sums stay.
    "xla_cpu_experimental_ynn_fusion_type": "-individual_convolution",
    # Compiling a training step takes 200 MiB less at its peak.
    "xla_cpu_use_fusion_emitters": "false",
}

_added: dict[str, str] | None = None
_convolution = "auto"
_switched_off: set[str] = set()
_captures_inference = False


def tune_jax_for_cpu() -> dict[str, str]:
    """Have JAX compile so that these networks are fast and small on a CPU.

    Call this right after the imports, because XLA reads its options only once, when JAX
    starts its devices. On other backends, or when called again, it does nothing.

    It adds options to the environment variable `XLA_FLAGS`, except those that stand
    there already. It also has every compilation of the process give freed memory back
    to the system, which needs glibc. XLA would end the process at an option that it
    does not know. So a short child process (half a second) tries the options first.

    Returns:
        The options that were added, by name.

    Warns:
        RuntimeWarning: If JAX has started already, or its XLA does not take an option.

    Example:

    >>> options = keras_gradattn.config.tune_jax_for_cpu()  # doctest: +SKIP
    """
    global _added
    if _added is None:
        _added = _add_xla_options()
    return dict(_added)


def _add_xla_options() -> dict[str, str]:
    if keras.backend.backend() != "jax":
        return {}
    jax_compat.return_compiler_memory()
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = {o: v for o, v in _XLA_OPTIONS.items() if f"--{o}=" not in flags}
    if not wanted:
        return {}
    if jax_compat.has_started():
        warnings.warn(
            "JAX has started its devices, and XLA reads its options only then: they "
            "stay as they are. Call `keras_gradattn.config.tune_jax_for_cpu()` right "
            "after the imports.",
            RuntimeWarning,
            stacklevel=3,
        )
        return {}
    refused = jax_compat.refused_options(tuple(wanted.items()))
    for option, reason in refused.items():
        warnings.warn(
            f"This XLA does not take {option}, which is left out: {reason}",
            RuntimeWarning,
            stacklevel=3,
        )
        del wanted[option]
    added = [f"--{option}={value}" for option, value in wanted.items()]
    if added:
        os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()
    return wanted


def keep_tensorflow_off_accelerators() -> None:
    """Leave the accelerators to the backend where TensorFlow only prepares batches.

    Call this on JAX or PyTorch if tf.data makes the batches (`engine="tf.data"`).
    Otherwise TensorFlow claims the memory of every GPU that it sees. If TensorFlow is
    the backend, this does nothing.

    Warns:
        RuntimeWarning: If TensorFlow has started its devices already.

    Example:

    >>> keras_gradattn.config.keep_tensorflow_off_accelerators()  # doctest: +SKIP
    """
    if keras.backend.backend() == "tensorflow":
        return
    if not tensorflow_compat.hide_accelerators():
        warnings.warn(
            "TensorFlow has started its devices and keeps them. Call "
            "`keras_gradattn.config.keep_tensorflow_off_accelerators()` right after "
            "the imports.",
            RuntimeWarning,
            stacklevel=2,
        )


def convolution(form: str) -> None:
    """Choose how every `SymmetricConv2D` that says "auto" is computed.

    Both forms use the same weights and give the same numbers up to rounding.

    Args:
        form: `"backend"` (the backend's own convolution), `"taps"` (one matrix product
            for each element of the kernel, if the size of the map is known) or
            `"auto"` (the default: one of the two, by map size, backend and device).

    Raises:
        ValueError: If `form` is none of these.

    Example:

    >>> keras_gradattn.config.convolution("auto")
    """
    global _convolution
    _convolution = checked_convolution(form)


def checked_convolution(form: str) -> str:
    """The form itself, where there is such a form.

    Args:
        form: `"auto"`, `"backend"` or `"taps"`.

    Returns:
        `form`.

    Raises:
        ValueError: If there is no such form.

    Example:

    >>> keras_gradattn.config.checked_convolution("taps")
    'taps'
    """
    if form not in CONVOLUTIONS:
        raise ValueError(
            f"`form` must be one of {CONVOLUTIONS}. Received: form={form!r}"
        )
    return form


def convolution_form() -> str:
    """The form that was chosen with `convolution`.

    Returns:
        `"auto"`, `"backend"` or `"taps"`.

    Example:

    >>> keras_gradattn.config.convolution_form()
    'auto'
    """
    return _convolution


def kernel(name: str, use: bool) -> None:
    """Use one of the package's kernels, or what Keras does instead.

    Results are the same up to rounding. Use this to measure what a kernel saves, or to
    rule it out if numbers look wrong.

    Args:
        name: A key of `KERNELS`.
        use: Whether the kernel computes from now on.

    Raises:
        ValueError: If there is no such kernel.

    Example:

    >>> keras_gradattn.config.kernel("batch_normalization", True)
    """
    if name not in KERNELS:
        raise ValueError(
            f"`name` must be one of {tuple(KERNELS)}. Received: name={name!r}"
        )
    if use:
        _switched_off.discard(name)
    else:
        _switched_off.add(name)


def uses_kernel(name: str) -> bool:
    """Whether a kernel of `KERNELS` is in use.

    Args:
        name: A key of `KERNELS`.

    Returns:
        Whether it computes.

    Example:

    >>> keras_gradattn.config.uses_kernel("adam")
    True
    """
    return name not in _switched_off


def capture_torch_inference(capture: bool = True) -> None:
    """Have PyTorch repeat a network's operations without walking through its layers.

    This saves time in inference. After some passes without gradients on images of one
    shape, a network of this package keeps its operations and runs these. It does so
    only after this call. On other backends the call does nothing.

    Args:
        capture: Whether networks capture. Defaults to `True`.

    Example:

    >>> keras_gradattn.config.capture_torch_inference(False)
    """
    global _captures_inference
    _captures_inference = bool(capture)


def captures_torch_inference() -> bool:
    """Whether `capture_torch_inference` was asked for.

    Returns:
        The last choice; `False` before any.

    Example:

    >>> keras_gradattn.config.captures_torch_inference()
    False
    """
    return _captures_inference
