"""What a stack costs in a month: with the least capacity and no request (idle), and with all of it (full).

Prices are dated tables in ``policies/prices``; what a month brings beside capacity is assumed, in ``usage.json``.
To add a type of resource: a function in ``policies/cost/estimators``, and its line in ``ESTIMATORS`` or ``FREE`` there.

Errors::

    PricesError    a table of prices, or the assumptions, can't be read
"""

from __future__ import annotations

from policies.cost.charge import Charge, NotEstimated, Surroundings
from policies.cost.estimate import HOURS, NOT_COUNTED, Estimate, Line, estimate
from policies.cost.prices import PricesError
from policies.cost.usage import Usage

__all__ = [
    "HOURS",
    "NOT_COUNTED",
    "Charge",
    "Estimate",
    "Line",
    "NotEstimated",
    "PricesError",
    "Surroundings",
    "Usage",
    "estimate",
]
