"""How XLA compiles for a CPU."""

import os

import keras

# Option, and the value that these networks want.
_OPTIONS = {
    # YNNPACK, XLA's default for convolutions, takes 1.3 to 2.5 times as long as Eigen
    # on the maps of these networks. Its matrix products and sums stay.
    "xla_cpu_experimental_ynn_fusion_type": "-individual_convolution",
    # Compiling a training step takes 200 MiB less at its peak.
    "xla_cpu_use_fusion_emitters": "false",
}
# Where the options are known to exist: XLA ends the process over one it does not know.
_JAXLIB_VERSION = (0, 10)


def choose_xla_options() -> None:
    """Have JAX compile for CPUs as these networks are fast and small.

    XLA reads its options when JAX computes something for the first time in a process:
    what comes later changes nothing. Options that `XLA_FLAGS` names already are left as
    they are. What each is worth stands in `benchmarks/README.md`.
    """
    if keras.backend.backend() != "jax":
        return
    import jaxlib

    version = tuple(int(part) for part in jaxlib.__version__.split(".")[:2])
    if version != _JAXLIB_VERSION:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    chosen = [f"--{o}={v}" for o, v in _OPTIONS.items() if o not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *chosen]).strip()
