"""Open Inference Protocol v2 (KServe's "Predict Protocol, Version 2"), with Triton's extensions.

HTTP here: the specification's section "HTTP/REST" and the extensions "Binary Tensor Data", "Model
Repository" and "Parameters". A tensor is one column, ``[N]`` or ``[N, 1]``. ``grpc_codec`` has the
messages of section "GRPC"; nothing imports it where gRPC is not served.
"""

from __future__ import annotations

from serve.gateway.errors import ServeError
from serve.gateway.open_inference import endpoints, repository
from serve.gateway.transport import Transport


def _error_body(error: ServeError) -> dict[str, object]:
    return {"error": str(error)}


TRANSPORT = Transport(
    prefixes=("/v2",),
    endpoints=(*endpoints.ENDPOINTS, *repository.ENDPOINTS),
    error_body=_error_body,
)
