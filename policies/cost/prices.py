"""The tables of prices: each price with its unit, its date and where it stands."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

FOLDER = Path(__file__).parents[1] / "prices"
CLOUDS: Mapping[str, str] = {"aws": "aws", "azure-native": "azure"}
"""A type's first part → the cloud of its prices."""


class PricesError(Exception):
    """A table of prices can't be read, or says what can't be: the file, the path in it, what was expected."""


class UnknownPrice(Exception):
    """There is no price of it, there."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AwsQuery(_Row):
    """A row of AWS's price list of a region. ``usage``: its ``usageType`` without the region's prefix.

    ``start``: where the row's range of quantities begins. ``attributes``: more columns, by their names.
    """

    api: Literal["aws"]
    service: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$")]
    usage: str = Field(min_length=1)
    operation: str = ""
    start: float = 0
    attributes: Mapping[str, str] = Field(default_factory=dict)


class AzureQuery(_Row):
    """An item of Azure's retail prices. ``scale``: what its price is multiplied with, to be one of the row's unit."""

    api: Literal["azure"]
    service: str = Field(min_length=1)
    meter: str = Field(min_length=1)
    sku: str = ""
    start: float = 0
    scale: float = Field(default=1, gt=0)


Query = Annotated[AwsQuery | AzureQuery, Field(discriminator="api")]
Url = Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


class Price(_Row):
    """``usd``: of one ``unit``; None where it isn't known yet. ``as_of``: since when it is known to be so.

    ``source``: where the provider says it. ``seen``: where it was read, for the provider's pages are not reached from
    everywhere; empty where it was read nowhere, and stands as remembered. ``query``: what finds it anew.
    """

    usd: float | None = Field(ge=0)
    unit: str
    as_of: date
    source: Url
    seen: str = ""
    query: Query | None = None


class Share(_Row):
    """Of another price, between these two: what has no list price."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    as_of: date
    source: Url
    seen: str = ""


class Table(_Row):
    """A file of ``policies/prices``: region → key → price."""

    cloud: Literal["aws", "azure"]
    currency: Literal["USD"]
    shares: Mapping[str, Share] = Field(default_factory=dict)
    regions: Mapping[str, Mapping[str, Price]]


@dataclass(frozen=True)
class Range:
    low: float
    high: float


@dataclass(frozen=True)
class Prices:
    """All tables, by cloud."""

    tables: Mapping[str, Table]

    def of(self, cloud: str, region: str, key: str, share: str = "") -> Range:
        """What one unit costs.

        Raises:
            UnknownPrice: no table has it; another region's is never taken.
        """
        table = self.tables.get(cloud)
        if table is None:
            raise UnknownPrice(f"no prices of {cloud}")
        if region not in table.regions:
            raise UnknownPrice(f"no prices of {region or 'a region that nothing names'}")
        price = table.regions[region].get(key)
        if price is None or price.usd is None:
            raise UnknownPrice(f"no price of {key} in {region}")
        if not share:
            return Range(price.usd, price.usd)
        if share not in table.shares:
            raise UnknownPrice(f"no share {share}")
        return Range(price.usd * table.shares[share].low, price.usd * table.shares[share].high)

    def dates(self) -> tuple[date, date]:
        """Of the oldest price and of the newest."""
        regions = [region for table in self.tables.values() for region in table.regions.values()]
        found = [price.as_of for region in regions for price in region.values() if price.usd is not None]
        return min(found), max(found)


def read_table(file: Path) -> Table:
    """Raises:
    PricesError: it can't be read, or is no table of prices.
    """
    try:
        return Table.model_validate_json(file.read_bytes())
    except OSError as error:
        raise PricesError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PricesError(problem(file, error)) from error


@functools.cache
def shipped() -> Prices:
    """The tables of this repository."""
    tables = [read_table(file) for file in sorted(FOLDER.glob("*.json"))]
    return Prices({table.cloud: table for table in tables})


def problem(file: Path, error: ValidationError) -> str:
    """One line of it."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{file}: {path}: {first['msg']}"
