"""The image has the packages that the runtimes, the language models, the place and the stores need."""

from __future__ import annotations

from collections.abc import Iterator

from policies.fit.images import (
    BACKENDS,
    KEY_STORES,
    LEDGERS,
    ON_GPUS,
    ON_LAMBDA,
    ON_RAY,
    RUNTIMES,
    TOKENS,
    VARIANTS,
    variant_of,
)
from policies.fit.misfit import Change, Misfit
from policies.fit.place import Place
from policies.node import Node


def image(place: Place) -> Iterator[Misfit]:
    for node, on_gpus in place.images():
        yield from _of(place, node, on_gpus)


def _of(place: Place, node: Node, on_gpus: bool) -> Iterator[Misfit]:
    name = variant_of(str(node.get(default="")))
    needs = list(_needs(place, on_gpus))
    fitting = [variant for variant, has in VARIANTS.items() if all(has & one for _, one in needs)]
    changes = (Change("the program", f"image of {place.label}", fitting[0]),) if fitting else ()
    otherwise = "an image with these packages: infra/images"
    if name not in VARIANTS:
        yield place.misfit(
            "image",
            node.path,
            f"the settings ask for {', '.join(sorted(_shown(one) for _, one in needs))}",
            f"what the image {name or 'that is not named'} has is not known here",
            f"one of {', '.join(VARIANTS)}, or its line in policies/fit/images.py",
            changes,
            otherwise,
        )
        return
    for who, one in needs:
        if not VARIANTS[name] & one:
            yield place.misfit(
                "image",
                node.path,
                f"{who} needs {_shown(one)}",
                f"the image {name} has no such package",
                "an image that has it",
                changes,
                otherwise,
            )


def _needs(place: Place, on_gpus: bool) -> Iterator[tuple[str, frozenset[str]]]:
    """Who needs which package; one of several, where there are some. Engines are looked for wherever the application
    is built, which in a cluster may be any node."""
    for package in sorted(ON_RAY if place.on_ray else ON_LAMBDA):
        yield place.label, frozenset({package})
    settings = place.settings
    for name, model in settings.models.items():
        if model.runtime in RUNTIMES:
            yield f"models.{name}.runtime {model.runtime}", RUNTIMES[model.runtime]
        if on_gpus and model.placement == "replica" and model.gpus > 0 and model.runtime in ON_GPUS:
            yield f"models.{name}.gpus {model.gpus:g}", frozenset({ON_GPUS[model.runtime]})
    for name, backend in settings.backends.items():
        for one in BACKENDS[backend.kind]:
            yield f"backends.{name}.kind {backend.kind}", one
    ledger = (settings.usage.ledger or "").partition(":")[0]
    if ledger in LEDGERS:
        yield f"usage.ledger {ledger}", frozenset({LEDGERS[ledger]})
    scheme = (settings.access.keys or "").partition(":")[0]
    if scheme in KEY_STORES:
        yield f"access.keys {scheme}", frozenset({KEY_STORES[scheme]})
    if settings.access.jwt is not None:
        yield "access.jwt", frozenset({TOKENS})


def _shown(packages: frozenset[str]) -> str:
    return " or ".join(sorted(packages))
