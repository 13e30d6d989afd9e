"""Models' ids, of which one model has several.

``anthropic.claude-sonnet-4-6``, ``eu.anthropic.claude-sonnet-4-6`` by an inference profile, and either at the end of an
ARN. What an application's own profile is of can't be seen in its ARN.
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
"""

from __future__ import annotations

import re

ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(?P<id>.+)")
PROFILE = re.compile(r"(?P<where>us|us-gov|eu|apac|jp|au|ca|sa|me|af|il|global)\.(?=[a-z0-9-]+\.)")


def bare(model: str) -> str:
    """Without an ARN's head."""
    found = ARN.fullmatch(model)
    return model if found is None else found["id"]


def base(model: str) -> str:
    """Without a profile's prefix either."""
    return PROFILE.sub("", bare(model), count=1)


def is_global(model: str) -> bool:
    return bare(model).startswith("global.")
