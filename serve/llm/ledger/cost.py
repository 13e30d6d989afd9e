"""What a request cost, and what it may cost at most.

A bought model costs by the token. An own one costs by the hour that its accelerator works, and works on several
requests at once: each moment is shared evenly by the requests that run in it. So what the requests of an hour came to
is an hour's price, whether one ran in it or sixteen; and a request that ran alone paid for all of the accelerator,
which it had. (Shares by tokens would make a prompt's tokens, which are read at once, as dear as an answer's, which
come one by one; shares of the batch's places would leave the empty places to nobody.) Hours without a request are
nobody's: a bill has them, the ledger does not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serve.llm.backend import Body, Operation, Tokens
from serve.llm.settings import TokenPrices

MILLION = 1_000_000
SECONDS_AN_HOUR = 3600

REQUEST_TOKENS = 512
MESSAGE_TOKENS = 16
IMAGE_TOKENS = 8192
"""What a server's template adds to a request and to a message, and what an image comes to; each is more than it is."""

IMAGES = ("image_url", "image", "input_image")
"""Types of a part of a message's content, and the names of what they hold."""

CHARACTERS_A_TOKEN = 4
"""Roughly, of English."""

TOKENS_A_SECOND = 100
"""Roughly, of a fast model's answer."""

LONGEST_INPUT = 1_000_000
"""Tokens that the models read that read the most."""

MOST_COUNT = 10**9
"""Of answers or tokens that a request asks for: no float holds what a JSON's integer may be."""


class Charge(Protocol):
    """One running request's."""

    def dollars(self, tokens: Tokens) -> float | None:
        """It has ended, and this is what it came to; ``None``: its price is not known. Asked once."""
        ...


class Pricing(Protocol):
    """What a backend's answers cost, in US dollars. ``most_seconds``: how long what ``most`` says is enough."""

    @property
    def most_seconds(self) -> float: ...

    def most(self, operation: Operation, body: Body) -> float:
        """What this request may come to; 0 where its price is not known."""
        ...

    def begin(self) -> Charge:
        """A request is given to the backend now."""
        ...


class TokenPricing:
    """By the token; ``None``: at prices that are not known. ``context_length``: the model's, in tokens."""

    most_seconds = math.inf

    def __init__(self, prices: TokenPrices | None, context_length: int) -> None:
        self._prices = prices
        self._context_length = context_length

    def most(self, operation: Operation, body: Body) -> float:  # noqa: ARG002 - an embedding's body shows it
        if self._prices is None:
            return 0.0
        return most_dollars(body, self._prices, self._context_length)

    def begin(self) -> TokenPricing:
        # It has no state of a request's.
        return self

    def dollars(self, tokens: Tokens) -> float | None:
        return None if self._prices is None else dollars_of_tokens(tokens, self._prices)


class AcceleratorPricing:
    """By the accelerator's time. ``most_seconds``: the longest that a request may run which is no stream."""

    def __init__(self, dollars_per_hour: float | None, time: AcceleratorTime, most_seconds: float) -> None:
        self._dollars_per_hour = dollars_per_hour
        self._time = time
        self.most_seconds = most_seconds

    def most(self, operation: Operation, body: Body) -> float:  # noqa: ARG002
        return (self._dollars_per_hour or 0.0) * self.most_seconds / SECONDS_AN_HOUR

    def begin(self) -> AcceleratorCharge:
        return AcceleratorCharge(self._dollars_per_hour, self._time.begin())


class AcceleratorCharge:
    """Keeps to :class:`Charge`."""

    __slots__ = ("_dollars_per_hour", "_share")

    def __init__(self, dollars_per_hour: float | None, share: Share) -> None:
        self._dollars_per_hour = dollars_per_hour
        self._share = share

    def dollars(self, tokens: Tokens) -> float | None:  # noqa: ARG002
        seconds = self._share.end()
        return None if self._dollars_per_hour is None else seconds * self._dollars_per_hour / SECONDS_AN_HOUR


class AcceleratorTime:
    """The seconds of a backend's accelerators, shared by the requests that run.

    ``replicas``: of the backend. ``gateways``: processes like this one that send it requests, until :meth:`shared_by`
    says how many there are; each knows its own alone, and takes the others to have as many. So a second of ``replicas``
    accelerators is never counted as more than that, and as less where the requests are unevenly spread over the
    gateways.

    One sum serves all: the seconds that a request would have had that ran since the beginning. A request's share is
    what was added to it between its begin and its end.
    """

    def __init__(self, replicas: int = 1, gateways: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._each = replicas / gateways
        self._clock = clock
        self._running = 0
        self._sum = 0.0
        self._at = clock()

    def shared_by(self, gateways: int) -> None:
        """From now on there are so many."""
        self._count()
        self._each = self._replicas / gateways

    def begin(self) -> Share:
        self._count()
        self._running += 1
        return Share(self, self._sum)

    def end(self) -> float:
        self._count()
        self._running -= 1
        if self._running == 0:
            # So that no error of the sum outgrows what is added to it.
            found, self._sum = self._sum, 0.0
            return found
        return self._sum

    def _count(self) -> None:
        now = self._clock()
        if self._running:
            self._sum += (now - self._at) * min(1.0, self._each / self._running)
        self._at = now


class Share:
    """One request's."""

    __slots__ = ("_began", "_seconds", "_time")

    def __init__(self, time: AcceleratorTime, began: float) -> None:
        self._time = time
        self._began = began
        self._seconds: float | None = None

    def end(self) -> float:
        """The accelerator's seconds that it took; the same when asked again."""
        if self._seconds is None:
            self._seconds = self._time.end() - self._began
        return self._seconds


def dollars_of_tokens(tokens: Tokens, prices: TokenPrices) -> float:
    cached = min(tokens.cached, tokens.input)
    cached_price = prices.input if prices.cached is None else prices.cached
    whole = (tokens.input - cached) * prices.input + cached * cached_price + tokens.output * prices.output
    return whole / MILLION


def most_dollars(body: Body, prices: TokenPrices, context_length: int) -> float:
    """What a request may come to. Of no request in OpenAI's shape is it less than what is billed.

    A tokenizer makes at most a token of each byte of UTF-8; the answer's bound is the request's own, or the model's.
    """
    prompts = _prompts(body)
    given = min(_most_input(body), prompts * max(context_length, LONGEST_INPUT))
    dearest = max(prices.input, prices.cached or 0.0)
    return (given * dearest + _most_output(body, prompts, context_length) * prices.output) / MILLION


def _prompts(body: Body) -> int:
    prompt = body.get("prompt", body.get("input"))
    # An array of numbers is one prompt, already in tokens.
    if "messages" in body or not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)


def guessed_input(body: Body) -> int:
    """The tokens of a prompt that nobody counted: a quarter of what it may come to, so one for every four bytes of its
    text, 4 for each object in it, such as a message, and 2048 for an image; never none."""
    return max(1, (_most_input(body) - REQUEST_TOKENS) // CHARACTERS_A_TOKEN)


def guessed(body: Body, seconds: float) -> Tokens:
    """The tokens of a whole answer that was given up after so long: of the output as many as a fast model makes in that
    time, and no more than were asked for."""
    made = int(seconds * TOKENS_A_SECOND)
    return Tokens(guessed_input(body), min(made, _most_output(body, _prompts(body), LONGEST_INPUT)))


def _most_input(body: Body) -> int:
    left, images = _texts_and_images(body)
    count = REQUEST_TOKENS + images * IMAGE_TOKENS
    while left:
        match left.pop():
            case str() as text:
                count += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            case Mapping() as part:
                count += MESSAGE_TOKENS
                # Names of members are text too, as those of a tool's schema.
                left += part.keys()
                left += part.values()
            case list() | tuple() as parts:
                # A text's tokens, of which there may be many.
                others = [part for part in parts if type(part) is not int]
                count += (len(parts) - len(others)) * MESSAGE_TOKENS
                left += others
            case None | bool():
                pass
            case _:
                # A token of its own, or a number as it is written.
                count += MESSAGE_TOKENS
    return count


def _texts_and_images(body: Body) -> tuple[list[Any], int]:
    """What is read as text, and how many images there are. An image is a part of a message's content, and nothing else
    is one, whatever it calls itself."""
    texts: list[Any] = [value for name, value in body.items() if name not in ("model", "messages")]
    images = 0
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else [messages]:
        if not isinstance(message, Mapping) or not isinstance(content := message.get("content"), list):
            texts.append(message)
            continue
        texts.append({name: value for name, value in message.items() if name != "content"})
        for part in content:
            if isinstance(part, Mapping) and part.get("type") in IMAGES:
                images += 1
                part = {name: value for name, value in part.items() if name not in IMAGES}
            texts.append(part)
    return texts, images


def _most_output(body: Body, prompts: int, context_length: int) -> int:
    if "messages" not in body and "prompt" not in body:
        return 0
    asked = [count for name in ("max_completion_tokens", "max_tokens") if (count := _count(body.get(name))) is not None]
    longest = min(context_length, max(asked, default=context_length))
    return longest * prompts * max(1, _count(body.get("n")) or 1, _count(body.get("best_of")) or 1)


def _count(value: object) -> int | None:
    return min(value, MOST_COUNT) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
