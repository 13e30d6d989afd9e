"""The gRPC service for Serve. Apart from the servicer, so that starting Serve imports nothing of it.

The service's definition is that of the package of its client.
"""

from __future__ import annotations

import sys
from typing import Any

SERVICER = f"{__name__}.add_to_server"
"""The function by its name: Serve imports it in each process that serves gRPC."""


def add_to_server(servicer: Any, server: Any) -> None:
    """Have a server answer the service's methods."""
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    # Serve's fallback proxy pickles requests, and these classes say that they are of this module, which is nowhere.
    sys.modules.setdefault("grpc_service_pb2", service_pb2)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
