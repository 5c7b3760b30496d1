"""Means and deviations of what a JSON says, rounded as they should be.

A float is taken for the decimal number that the JSON has, a mean is exact, and only the
last step rounds: to the nearest, halves to the even digit.
"""

import decimal
from collections.abc import Iterable, Sequence
from fractions import Fraction

Number = int | float | Fraction
# More digits than any figure has, so that a root or quotient is rounded once.
_CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


def exact(value: Number) -> Fraction:
    """The decimal number that a float is written as."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


def percent(shares: Iterable[Number]) -> list[Fraction]:
    """Shares in percent, without an error."""
    return [100 * exact(share) for share in shares]


def mean(values: Sequence[Number]) -> Fraction:
    """The exact mean."""
    return sum(map(exact, values), Fraction()) / len(values)


def written(value: Number, digits: int = 2, *, sign: bool = False) -> str:
    """One number with so many decimals; with `sign`, a plus before what is positive."""
    return _text(_decimal(exact(value)), digits, sign)


def with_deviation(values: Sequence[Number], digits: int = 2) -> str:
    """`85.91 ± 0.12`: mean and sample deviation, or `85.91` for one value."""
    text = written(mean(values), digits)
    if len(values) < 2:
        return text
    middle = mean(values)
    squares = sum((exact(value) - middle) ** 2 for value in values)
    deviation = _CONTEXT.sqrt(_decimal(Fraction(squares) / (len(values) - 1)))
    return f"{text} ± {_text(deviation, digits)}"


def _decimal(value: Fraction) -> decimal.Decimal:
    return _CONTEXT.divide(
        decimal.Decimal(value.numerator), decimal.Decimal(value.denominator)
    )


def _text(value: decimal.Decimal, digits: int, sign: bool = False) -> str:
    rounded = value.quantize(decimal.Decimal(1).scaleb(-digits), context=_CONTEXT)
    # Nothing is neither above nor below.
    rounded = rounded if rounded else abs(rounded)
    return f"{rounded:{'+' if sign else ''}f}"
