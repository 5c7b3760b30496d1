"""Every threshold of the diagnosis: its value, and what set it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One number that a rule compares with.

    Attributes:
        value: The number.
        source: The publication, tool or experiment that it is from.
    """

    value: float
    source: str


_CS231N = "Karpathy (2016), CS231n: about 1e-3 is healthy"
_STUDY = "studies/diagnosis, the half that sets thresholds"
_SMALL = "tests/diagnosis: healthy small networks stay away from it"

THRESHOLDS = {
    # Data.
    "input_spread_high": Threshold(
        20.0, f"{_STUDY}; pixels of 0 to 255 have about 70"
    ),
    "input_mean_high": Threshold(20.0, _STUDY),
}


def threshold(name: str) -> float:
    """The number of that name."""
    return THRESHOLDS[name].value
