"""What a property of one resource is to another of the stack, where neither value may be known yet."""

from __future__ import annotations

from policies.node import Resource, Stack


def comes_from(stack: Stack, each: Resource, path: str, to: Resource, by: str) -> bool:
    """Whether the property ``path`` of ``each`` is ``to``.

    It is where it comes from it, or from a third resource whose ``by`` does; or, where it comes from no resource,
    where it is the text that ``to`` has as its ``by``.

    Raises:
        UnknownValueError: it comes from no resource, and isn't known.
    """
    urns = each.links.get(path.partition(".")[0], ())
    if to.urn in urns or any(third.urn in urns and to.urn in third.links.get(by, ()) for third in stack.resources):
        return True
    if urns:
        return False
    text = each.get(path)
    return isinstance(text, str) and bool(text) and text == to.get(by)
