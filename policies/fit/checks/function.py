"""The function: it has the model that the settings name, and starts within its time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from policies.fit.assigned import served_by_function
from policies.fit.footprint import FUNCTION_CPU_SECONDS
from policies.fit.misfit import Change, Misfit
from policies.fit.place import Place
from policies.fit.places.lambda_function import MIB_A_CPU, LambdaFunction
from policies.reading.amounts import whole_or

LONGEST_SECONDS = 29
"""Of what an HTTP API calls, which itself waits for 30.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html"""


def function(place: Place) -> Iterator[Misfit]:
    if isinstance(place, LambdaFunction):
        yield from _model(place)
        yield from _start(place)
        yield from _api(place)


def _model(place: LambdaFunction) -> Iterator[Misfit]:
    uri = str(place.variable("MODEL_URI").get(default=""))
    # A folder of the image may be named as it likes.
    if uri.startswith("s3://") and served_by_function(place) is None:
        first = next(iter(place.settings.models), "MODEL")
        yield place.misfit(
            "function",
            "environment.variables.MODEL_URI",
            f"the settings serve {', '.join(place.settings.models) or 'no model of tables'}",
            f"MODEL_URI is {uri}",
            "a version's folder of one of them",
            (place.in_stack("function.model", f"models/{first}/1"),),
        )


def _start(place: LambdaFunction) -> Iterator[Misfit]:
    """A cold start is on a request's time: it computes with the share of a CPU that the memory brings with it."""
    needed = math.ceil(FUNCTION_CPU_SECONDS * MIB_A_CPU / min(place.memory_mib or 1, MIB_A_CPU))
    if needed >= place.seconds:
        fits = needed + 1 <= LONGEST_SECONDS
        yield place.misfit(
            "function",
            "timeout",
            f"a cold start with {place.memory_mib} MiB takes about {needed} s",
            f"the function's time is {place.seconds} s",
            f"more than {needed} s",
            (place.in_stack("function.timeout_seconds", needed + 1),) if fits else (),
            otherwise="more memory (function.memory), which brings CPUs with it",
        )


def _api(place: LambdaFunction) -> Iterator[Misfit]:
    for each in place.integrations():
        milliseconds = whole_or(each.get("timeoutMilliseconds"), 30_000)
        if milliseconds < place.seconds * 1000:
            yield place.misfit(
                "function",
                "timeout",
                f"the function's time is {place.seconds} s",
                f"the API waits {milliseconds} ms for it",
                f"at least {place.seconds * 1000}",
                (Change("the program", f"timeoutMilliseconds of {each.name}", place.seconds * 1000),),
            )
