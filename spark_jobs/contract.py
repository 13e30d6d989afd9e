"""The contract: what a feature view promises to everything downstream of it.

``contract.json`` is made by the feature job and travels with the data, the model version and the
replica. Each stage checks what it was given against it, so a model can't be fed what it was not
trained on. This module imports neither pyspark nor torch: whoever reads a contract pays for
pydantic alone.

Errors::

    UserError
    └── ContractError            a contract, or data that should keep to one, is not as it must be
        ├── ContractUnreadable   no such file, not JSON, not this format
        ├── ContractTampered     the digest in the file is not the digest of its content
        └── ContractBroken       data does not have the columns or dtypes that the contract names
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from console import UserError

FILE_NAME = "contract.json"

Dtype = Literal["string", "int32", "int64", "float32", "float64", "timestamp"]
"""``timestamp`` is an instant with microseconds, in UTC."""

Role = Literal["key", "event_time", "feature", "label", "attribute"]
"""``attribute`` columns travel with the view for people to read; no model sees them."""

SplitName = Literal["train", "validation", "test"]


class ContractError(UserError):
    """A contract, or data that should keep to one, is not as it must be."""


class ContractUnreadable(ContractError):
    """No such file, not JSON, or not a contract of this format."""


class ContractTampered(ContractError):
    """The digest written in the file is not the digest of its content."""


class ContractBroken(ContractError):
    """Data does not have the columns or the dtypes that the contract names."""


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class NumericProfile(Document):
    """How a numeric feature was distributed over the training split.

    ``quantiles`` are linearly interpolated at equal steps from 0 to 1 (13 of them: 12 bins);
    ``histogram`` counts the values between neighbouring *distinct* quantiles, the last bin closed.
    With no value at all, ``mean``, ``std`` are ``None`` and the tuples are empty.
    """

    count: int = Field(ge=0)
    missing: int = Field(ge=0)
    mean: float | None
    std: float | None
    quantiles: tuple[float, ...]
    histogram: tuple[int, ...]

    @property
    def edges(self) -> tuple[float, ...]:
        """The distinct quantiles, ascending: the edges of ``histogram``."""
        return tuple(sorted(set(self.quantiles)))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if list(self.quantiles) != sorted(self.quantiles):
            raise ValueError("quantiles must ascend")
        if len(self.histogram) != max(len(self.edges) - 1, 0):
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) - 1} bins, got {len(self.histogram)}")
        if (self.count == 0) != (self.mean is None):
            raise ValueError("mean is None exactly where there is no value")
        return self


class CategoricalProfile(Document):
    """How often each category came in the training split, the most frequent first."""

    count: int = Field(ge=0)
    missing: int = Field(ge=0)
    frequencies: dict[str, int]

    def vocabulary(self, at_least: int) -> tuple[str, ...]:
        """The categories with ``at_least`` training rows, in alphabetical order."""
        return tuple(sorted(name for name, rows in self.frequencies.items() if rows >= at_least))


class Column(Document):
    """One column of the view.

    ``minimum`` and ``maximum`` are what the value may be at all (a rule, with the bounds included),
    not what was seen: that is in ``profile``, which features alone have. A numeric feature is
    ``float32`` even where it counts whole things, because its missing value is NaN.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    dtype: Dtype
    role: Role
    description: str
    nullable: bool = False
    unit: str | None = None
    group: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    profile: NumericProfile | CategoricalProfile | None = None

    @property
    def is_categorical(self) -> bool:
        return self.role == "feature" and self.dtype == "string"

    @property
    def is_numeric(self) -> bool:
        return self.role == "feature" and self.dtype != "string"

    @model_validator(mode="after")
    def _feature_has_its_profile(self) -> Self:
        if self.role != "feature":
            if self.profile is not None:
                raise ValueError(f"{self.name}: only features have a profile")
            return self
        expected = {"string": CategoricalProfile, "float32": NumericProfile}.get(self.dtype)
        if expected is None:
            raise ValueError(f"{self.name}: a feature is string or float32, not {self.dtype}")
        if not isinstance(self.profile, expected):
            raise ValueError(f"{self.name}: a {self.dtype} feature needs a {expected.__name__}")
        return self


class Split(Document):
    """The half-open interval ``[start, end)`` of event time, and the rows of the view in it."""

    start: Instant
    end: Instant
    rows: int = Field(ge=0)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"ends {self.end} at or before its start {self.start}")
        return self


class SourceCount(Document):
    """What became of the rows of one source table: ``read == kept + sum(quarantined)``."""

    table: str
    read: int = Field(ge=0)
    kept: int = Field(ge=0)
    quarantined: dict[str, int] = Field(description="rule name → rows")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        quarantined = sum(self.quarantined.values())
        if self.read != self.kept + quarantined:
            raise ValueError(f"{self.table}: {self.read} rows read, but {self.kept} kept + {quarantined} quarantined")
        return self


class Contract(Document):
    """The promise of one feature view. Immutable; its identity is :attr:`digest`."""

    format: Literal[1] = 1
    view: str
    grain: str = Field(description="what one row is")
    prediction_lead_minutes: int = Field(ge=0, description="every feature is known so long before the event time")
    reporting_timezone: str = Field(description="IANA name; periods (a month) are cut in it. Instants stay in UTC")
    columns: tuple[Column, ...]
    splits: dict[SplitName, Split]
    sources: tuple[SourceCount, ...]

    @model_validator(mode="after")
    def _names_each_column_once(self) -> Self:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns named twice: {', '.join(twice)}")
        for role in ("event_time", "label"):
            found = [column.name for column in self.columns if column.role == role]
            if len(found) != 1:
                raise ValueError(f"one column must have the role {role}, found {found or 'none'}")
        if not self.features:
            raise ValueError("a view needs at least one feature")
        return self

    @model_validator(mode="after")
    def _splits_follow_each_other(self) -> Self:
        if set(self.splits) != {"train", "validation", "test"}:
            raise ValueError(f"splits must be train, validation and test, not {', '.join(self.splits)}")
        ordered = [self.splits["train"], self.splits["validation"], self.splits["test"]]
        for earlier, later in itertools.pairwise(ordered):
            if later.start < earlier.end:
                raise ValueError(f"a split starts at {later.start}, before the one before it ends ({earlier.end})")
        return self

    @property
    def features(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def numeric(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_numeric)

    @property
    def categorical(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_categorical)

    @property
    def entity_keys(self) -> tuple[str, ...]:
        """The names of the columns that, with the event time, tell one row from another."""
        return tuple(column.name for column in self.columns if column.role == "key")

    @property
    def event_time(self) -> str:
        return next(column.name for column in self.columns if column.role == "event_time")

    @property
    def label(self) -> str:
        return next(column.name for column in self.columns if column.role == "label")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the contract's canonical JSON: sorted keys, no white space."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self) -> str:
        """The contract with its digest, as ``contract.json`` holds it."""
        return json.dumps({**self.model_dump(mode="json"), "digest": self.digest}, indent=1, ensure_ascii=False) + "\n"

    def check_columns(self, dtypes: Mapping[str, str], where: str) -> None:
        """Hold the columns of a table against the contract.

        ``dtypes`` maps the column names found at ``where`` to the dtypes found (:data:`Dtype`).

        Raises:
            ContractBroken: a column is missing, one is not in the contract, or a dtype differs.
        """
        expected = {column.name: column.dtype for column in self.columns}
        missing = [name for name in expected if name not in dtypes]
        extra = [name for name in dtypes if name not in expected]
        wrong = [
            f"{name} is {dtypes[name]}, expected {dtype}"
            for name, dtype in expected.items()
            if name in dtypes and dtypes[name] != dtype
        ]
        problems = (
            ([f"missing {', '.join(missing)}"] if missing else [])
            + ([f"not in the contract: {', '.join(extra)}"] if extra else [])
            + wrong
        )
        if problems:
            raise ContractBroken(f"{where} does not keep to the contract of view {self.view!r}: {'; '.join(problems)}")


def dtype_of(arrow: object) -> str:
    """The contract's name of an Arrow type, or Arrow's own where the contract has none."""
    name = str(arrow)
    if re.fullmatch(r"timestamp\[\w+, tz=(UTC|\+00:00)\]", name):
        return "timestamp"
    return {"float": "float32", "double": "float64", "large_string": "string"}.get(name, name)


def read_contract(path: Path) -> Contract:
    """Read ``contract.json`` (or the folder that holds it) and verify its digest.

    Raises:
        ContractUnreadable: there is no such file, or it is not a contract of this format.
        ContractTampered: the content was changed after it was written.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractUnreadable(
            f"no contract at {file} ({type(error).__name__}): name a folder made by `python -m spark_jobs`"
        ) from error
    return parse_contract(text, str(file))


def parse_contract(text: str | bytes, where: str) -> Contract:
    """Parse the text of a ``contract.json`` and verify its digest; ``where`` names it in errors.

    Raises:
        ContractUnreadable: it is not JSON, or not a contract of this format.
        ContractTampered: the content was changed after it was written.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ContractUnreadable(f"{where} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ContractUnreadable(f"{where} is not a contract: expected an object, found {type(document).__name__}")
    claimed = document.pop("digest", None)
    try:
        contract = Contract.model_validate(document)
    except ValidationError as error:
        raise ContractUnreadable(f"{where} is not a contract: {first_problem(error)}") from error
    if claimed != contract.digest:
        raise ContractTampered(
            f"{where} was changed after it was written: it claims {claimed}, it is {contract.digest}"
        )
    return contract


def first_problem(error: ValidationError) -> str:
    """The first thing a pydantic validation found, as ``path.to.field: message``."""
    problem = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path}: {problem['msg']}" if path else problem["msg"]
