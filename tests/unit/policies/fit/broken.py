"""Changes to a small stack after which something doesn't fit in it, and how what is said of it is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.policies.fit.worlds import KINDS, World

Edit = Callable[[World], Any]


def serving(path: str, value: Any) -> Edit:
    def edit(world: World) -> None:
        document = world.serving
        *steps, last = path.split(".")
        for step in steps:
            document = document.setdefault(step, {})
        document[last] = value

    return edit


def config(section: str, key: str, value: Any) -> Edit:
    return lambda world: world.config[section].update({key: value})


def program(**values: Any) -> Edit:
    return lambda world: world.program.update(values)


def wire(name: str, value: Any) -> Edit:
    return lambda world: world.program["wires"].update({name: value})


def model(**values: Any) -> Edit:
    return serving("models", {"parcels": {"placement": "replica", **values}})


def without(action: str) -> Edit:
    def edit(world: World) -> None:
        kept = [each for each in world.program["statements"] if action not in each["Action"]]
        assert len(kept) < len(world.program["statements"])
        world.program["statements"] = kept

    return edit


def on_both(*edits: Edit) -> Edit:
    def edit(world: World) -> None:
        for each in edits:
            each(world)

    return edit


@dataclass(frozen=True)
class Broken:
    """``says``: parts of the misfit's text. ``mended``: its changes take it away."""

    kind: str
    edit: Edit
    check: str
    says: tuple[str, ...]
    mended: bool = True

    def __str__(self) -> str:
        return f"{self.kind}: {self.check}: {self.says[0]}"


def hold(broken: Broken) -> None:
    """A misfit names both sides, and changes after which it fits."""
    world = World(broken.kind)
    broken.edit(world)
    of_check = [each for each in world.misfits() if each.check == broken.check]
    texts = [str(each) for each in of_check]
    assert texts
    found = next((each for each in of_check if all(part in str(each) for part in broken.says)), None)
    assert found is not None, texts
    assert "expected" in str(found)
    assert str(found).partition("smallest change: ")[2]
    assert bool(found.changes) == broken.mended
    if broken.mended:
        after = world.with_changes(*found.changes).misfits()
        assert (found.check, found.asks, found.got) not in [(each.check, each.asks, each.got) for each in after]
        mended = world
        for _ in range(len(KINDS)):
            changes = [change for each in mended.misfits() for change in each.changes]
            mended = mended.with_changes(*changes)
        assert mended.misfits() == []
