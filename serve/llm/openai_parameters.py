"""OpenAI's parameters that a backend need not have: notes on a request, and values that ask for nothing.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Mapping

NOTES = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
)
"""OpenAI's own notes on a request, which change nothing of its answer."""

SAYS_NOTHING: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "seed": (),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "parallel_tool_calls": (True,),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "verbosity": ("medium",),
    "moderation": (),
    "reasoning_effort": (),
    "prediction": (),
    "audio": (),
    "web_search_options": (),
    "echo": (False,),
    "suffix": ("",),
}
"""A parameter → the values of it that ask for nothing, beside null, which never does."""


def says_nothing(name: str, value: object) -> bool:
    """Whether whoever lacks the parameter may pass it over."""
    if value is None or name in NOTES:
        return True
    # For Python True is 1.
    return any(
        value == known and isinstance(value, bool) == isinstance(known, bool) for known in SAYS_NOTHING.get(name, ())
    )


def unrecognized(name: str) -> str:
    """What OpenAI says of a parameter that it has not."""
    return f"Unrecognized request argument supplied: {name}"


def is_openai_s(name: str) -> bool:
    return name in NOTES or name in SAYS_NOTHING
