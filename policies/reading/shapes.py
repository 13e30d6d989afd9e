"""AWS's own description of its APIs, as botocore has it; botocore's release says of when."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def shape_of(service: str, name: str) -> Any:
    """A type of a service's API: ``shape_of("ec2", "InstanceType")``.

    Raises:
        ImportError: botocore is not installed.
    """
    from botocore.loaders import Loader  # type: ignore[import-untyped]
    from botocore.model import ServiceModel  # type: ignore[import-untyped]

    return ServiceModel(Loader().load_service_model(service, "service-2")).shape_for(name)
