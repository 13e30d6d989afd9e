"""Things are placed as one after another would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.fit.packing import packed

AMOUNTS = st.tuples(*(st.sampled_from([0, 0.1, 0.25, 0.5, 1, 2, 3]) for _ in range(2)))


def one_by_one(things: list[tuple[tuple[float, ...], int]], node: tuple[float, ...]) -> int:
    nodes: list[list[float]] = []
    for ask, count in things:
        if any(wants > has + 1e-6 for wants, has in zip(ask, node, strict=True)):
            continue
        for _ in range(count):
            free = next(
                (each for each in nodes if all(wants <= has + 1e-6 for wants, has in zip(ask, each, strict=True))), None
            )
            if free is None:
                nodes.append(free := list(node))
            free[:] = [has - wants for has, wants in zip(free, ask, strict=True)]
    return len(nodes)


@given(st.lists(st.tuples(AMOUNTS, st.integers(0, 12)), max_size=5), st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_many_alike_are_placed_as_one_after_another(
    things: list[tuple[tuple[float, ...], int]], node: tuple[float, ...]
) -> None:
    assert packed(things, node) == one_by_one(things, node)


def test_a_thousand_million_are_counted_at_once() -> None:
    assert packed([([0.6], 10**9), ([0.4], 10**9)], [1]) == 10**9
