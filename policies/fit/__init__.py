"""The fit check: what a stack serves, held against the nodes that the stack would make.

It works on the graph alone, so it runs in a preview and in ``python -m infra check`` alike. Of a service it reads the
serving settings that the service itself would read, from the variable in its container.

``places`` finds where something is served, ``checks`` holds each place; both are registries.
"""

from __future__ import annotations

from policies.fit.engine import fit, held

__all__ = ["fit", "held"]
