"""Contenders take turns, so that all meet the same machine."""

from collections.abc import Callable, Sequence


def alternate(
    turns: Sequence[Callable[[int], float]],
    rounds: int,
    steps_per_round: int,
    after_round: Callable[[int], None] = lambda number: None,
) -> list[list[float]]:
    """Let contenders take turns, so that all meet the same machine.

    Every other round goes backwards. Each turn begins with a step that does not count,
    because the caches hold another contender's values.

    Args:
        turns: Each runs that many steps and returns the seconds of one.
        rounds: How often everybody has a turn.
        steps_per_round: Steps that count in a turn.
        after_round: Told the number of each round that is done, from 1.

    Returns:
        For each contender its seconds per step, round by round.
    """
    seconds = [[] for _ in turns]
    for number in range(rounds):
        order = range(len(turns))
        for index in reversed(order) if number % 2 else order:
            turns[index](1)
            seconds[index].append(turns[index](steps_per_round))
        after_round(number + 1)
    return seconds
