"""Engines of language models: what they need is said, their model's files can be had, and they use GPUs as asked."""

from __future__ import annotations

import math
from collections.abc import Iterator

from policies.fit.llm import USED_SHARE
from policies.fit.misfit import Misfit
from policies.fit.networks import leads_out
from policies.fit.packing import TOLERANCE
from policies.fit.place import Place
from serve.settings import Deployed, Vllm, from_registry

SHARE = "gpu-memory-utilization"
"""vLLM's argument: which share of a GPU's memory it takes, whether it needs it or not."""


def engines(place: Place) -> Iterator[Misfit]:
    for name, backend in place.settings.backends.items():
        if isinstance(backend, Deployed) and place.on_ray:
            yield from _files(place, f"backends.{name}", backend)
            yield from _needs(place, f"backends.{name}", backend)
            if isinstance(backend, Vllm):
                yield from _divided(place, f"backends.{name}", backend)
                yield from _shares(place, f"backends.{name}", backend)


def _files(place: Place, who: str, backend: Deployed) -> Iterator[Misfit]:
    if not from_registry(backend.model) and not leads_out(place.stack):
        yield place.misfit(
            "engines",
            "",
            f"{who}.model is {backend.model} of a hub",
            "the network leads to AWS alone",
            "a way to the internet, or a version of the registry",
            (place.in_stack("network.nat", True),),
        )


def _needs(place: Place, who: str, backend: Deployed) -> Iterator[Misfit]:
    """Without it any GPU would seem to be large enough."""
    if backend.gpus and backend.needs.gpu_memory_gib is None:
        yield place.misfit(
            "engines",
            "",
            f"{who} runs {backend.model} on GPUs",
            "how much of their memory it takes is not said",
            f"{who}.needs.gpu_memory_gib",
            (),
            otherwise=f"what `python -m infra fit --model-config config.json` says, as {who}.needs",
        )


def _divided(place: Place, who: str, backend: Vllm) -> Iterator[Misfit]:
    """An undivided model would lie on one GPU, and the others would be taken for nothing."""
    if backend.gpus > 1 and backend.tensor_parallel == 1:
        whole = math.ceil(backend.gpus - TOLERANCE)
        yield place.misfit(
            "engines",
            "",
            f"{who}.gpus is {backend.gpus:g}",
            "vLLM uses one: tensor_parallel is 1",
            f"a model that is divided among {whole}",
            (place.in_serving(f"{who}.tensor_parallel", whole),),
        )


def _shares(place: Place, who: str, backend: Vllm) -> Iterator[Misfit]:
    argument = next((key for key in backend.arguments if key.replace("_", "-") == SHARE), SHARE)
    share = backend.arguments.get(argument, USED_SHARE)
    if 0 < backend.gpus < 1 and isinstance(share, int | float) and share > backend.gpus + TOLERANCE:
        yield place.misfit(
            "engines",
            "",
            f"{who}.gpus is {backend.gpus:g}, so that others are on the same GPU",
            f"vLLM takes {share:g} of its memory",
            f"at most {backend.gpus:g}",
            (place.in_serving(f"{who}.arguments.{argument}", round(backend.gpus * USED_SHARE, 3)),),
        )
