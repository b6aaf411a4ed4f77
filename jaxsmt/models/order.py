"""The order in which quantities can be computed that depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from ..errors import InputError


def in_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Names such that each comes after those that it needs.

    Args:
        needs: the names, and what each of them needs; what is not among the names itself does not count.

    Returns:
        The names. They come in generations: first those that need none of the others, then those that need only
        these, and so on; within a generation they keep the order of `needs`, so that the result is always the same.

    Raises:
        InputError: names need each other in a circle.

    Example:
        >>> in_order({"c": ["b"], "b": ["a"], "a": [], "d": ["x"]})
        ['a', 'd', 'b', 'c']
    """
    sorter = TopologicalSorter({name: [n for n in needed if n in needs] for name, needed in needs.items()})
    position = {name: i for i, name in enumerate(needs)}
    try:
        sorter.prepare()
    except CycleError as error:
        circle = sorted(set(error.args[1]), key=position.__getitem__)
        raise InputError(f"links in a circle: {circle}", fix="remove one") from None
    out: list[str] = []
    while sorter.is_active():
        generation = sorted(sorter.get_ready(), key=position.__getitem__)
        out += generation
        sorter.done(*generation)
    return out
