"""Converse's request as botocore knows it."""

from __future__ import annotations

import base64
import functools
from typing import Any

import botocore.session  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

PIXEL = base64.b64encode(b"\x89PNG of a kind").decode()


def accepted(asked: dict[str, Any]) -> str:
    """What botocore has against a request; empty where it has nothing."""
    report = ParamValidator().validate({"modelId": "a.b", **asked}, _shape())
    return str(report.generate_report())


@functools.cache
def _shape() -> Any:
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape
