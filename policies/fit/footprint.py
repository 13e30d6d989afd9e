"""How much memory the processes of a service take, as measured.

``tests/integration/serve/test_footprint.py`` measures them anew, in a real Ray with a real model: the proportional
set size (PSS) of every process of a running ``python -m serve run`` after some seconds of requests, by kind of
process. Each figure here is what was measured, with about a quarter on top for what grows later; the test holds that
no figure is below what is measured, nor more than twice as much. A model's own memory comes on top:
``needs.memory_gib``.

Measured on Linux with Ray 2.60, Python 3.11 and ONNX Runtime 1.32.
"""

from __future__ import annotations

HEAD_MIB = 1050
"""Ray's head and what starts it: ``python -m serve run`` (232 MiB), GCS, dashboard and its modules, autoscaler's
monitor, Serve's controller, the hub of several replicas. 804 MiB measured."""

NODE_MIB = 570
"""Of each node of Ray: raylet, its agents, HAProxy and Serve's two processes beside it. 456 MiB measured."""

REPLICA_MIB = 190
"""One replica: Python, Serve, the gateway and ONNX Runtime with a model of a few KiB. 143 to 154 MiB measured."""

FUNCTION_MIB = 200
"""The function on Lambda with such a model: 126 MiB measured (RSS), and Lambda's own runtime beside it."""

FUNCTION_CPU_SECONDS = 1.0
"""What a cold start of the function computes: 0.65 s of one CPU measured, imports and the first answer together."""

MOST_OF_MEMORY = 0.95
"""Of a node's memory: above that Ray's memory monitor ends workers.
https://docs.ray.io/en/latest/ray-core/scheduling/ray-oom-prevention.html"""
