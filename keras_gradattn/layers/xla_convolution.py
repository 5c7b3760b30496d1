"""Which of XLA's two convolutions a CPU runs."""

import os

import keras

_OPTION = "xla_cpu_experimental_ynn_fusion_type"
# Where the option is known to exist: XLA ends the process over one it does not know.
_JAXLIB_VERSIONS = ((0, 10), (0, 11))


def choose_eigen_convolution() -> None:
    """Have JAX compute convolutions on CPUs by Eigen instead of YNNPACK.

    YNNPACK, XLA's default for them, takes 1.3 to 2.5 times as long on the maps of these
    networks (`benchmarks/README.md`); its matrix products and sums stay. XLA reads its
    options when JAX computes something for the first time in a process: what comes
    later changes nothing. An option of that name in `XLA_FLAGS` is left as it is.
    """
    if keras.backend.backend() != "jax":
        return
    import jaxlib

    flags = os.environ.get("XLA_FLAGS", "")
    version = tuple(int(part) for part in jaxlib.__version__.split(".")[:2])
    if _OPTION in flags or not _JAXLIB_VERSIONS[0] <= version <= _JAXLIB_VERSIONS[1]:
        return
    choice = f"--{_OPTION}=-individual_convolution"
    os.environ["XLA_FLAGS"] = f"{flags} {choice}".strip()
