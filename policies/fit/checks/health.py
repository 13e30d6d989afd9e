"""Health: who asks whether the ingress is ready asks where it answers that."""

from __future__ import annotations

from collections.abc import Iterator

from policies.fit.misfit import Change, Misfit
from policies.fit.place import Place

READY = "/v2/health/ready"


def health(place: Place) -> Iterator[Misfit]:
    """``/v2/health/live``, ``/ping`` and ``/health`` answer 200 before a model is there."""
    for each in place.health():
        if each.value != READY:
            yield place.misfit(
                "health",
                each.node.path,
                f"the ingress answers on {READY} whether it is ready",
                f"{each.name} asks {each.value or 'nothing'}",
                READY,
                (Change("the program", each.name, READY),),
            )
