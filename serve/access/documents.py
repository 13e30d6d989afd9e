"""Keys as JSON: the shape of a key wherever one is stored, and the document of those stores that keep one text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from serve.access.keys import DIGEST_PATTERN, ID_PATTERN, ApiKey
from serve.access.stores import KeyExists, KeyNotFound, KeyStoreUnreadable
from serve.caller import Limits


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time within the years 1 to 9999 in UTC") from error


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters only")
    return text


Time = Annotated[AwareDatetime, AfterValidator(_utc)]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_printable)]
ModelPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._*?!\[\]-]{1,128}$")]
"""The characters of a model's name, and those that stand for others in a shell."""

Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LimitsRecord(Record):
    """Mirrors :class:`serve.caller.Limits`."""

    requests_per_second: Rate | None = None
    rows_per_second: Rate | None = None
    concurrency: Count | None = None
    body_bytes: Count | None = None
    batch_rows: Count | None = None


class KeyRecord(Record):
    """Mirrors :class:`serve.access.keys.ApiKey`."""

    id: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    name: KeyName
    digest: Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
    models: tuple[ModelPattern, ...]
    admin: bool = False
    limits: LimitsRecord | None = None
    created: Time
    expires: Time | None = None
    revoked: Time | None = None

    def key(self) -> ApiKey:
        limits = None if self.limits is None else Limits(**self.limits.model_dump())
        fields = {name: getattr(self, name) for name in KeyRecord.model_fields}
        return ApiKey(**{**fields, "limits": limits})


class Document(Record):
    """What a store of one text holds."""

    version: Literal[1]
    keys: tuple[KeyRecord, ...]


def key_from_json(text: str | bytes, where: str) -> ApiKey:
    """One key of its JSON.

    Raises:
        KeyStoreUnreadable: the text is not a key.
    """
    try:
        return KeyRecord.model_validate_json(text).key()
    except ValidationError as error:
        raise KeyStoreUnreadable(_problem(error, where)) from error


def key_to_json(key: ApiKey) -> str:
    """The JSON of one key. Defaults are left out.

    Raises:
        ValidationError: a field of the key is not what :class:`KeyRecord` asks.
    """
    return KeyRecord.model_validate(asdict(key)).model_dump_json(exclude_defaults=True)


def from_json(text: str | bytes, where: str) -> dict[str, ApiKey]:
    """The keys of a document, by id.

    Raises:
        KeyStoreUnreadable: the text is not such a document, or has an id twice.
    """
    try:
        records = Document.model_validate_json(text).keys
    except ValidationError as error:
        raise KeyStoreUnreadable(_problem(error, where)) from error
    keys = {record.id: record.key() for record in records}
    if len(keys) != len(records):
        raise KeyStoreUnreadable(f"{where}: an id stands there twice: leave one of the two in it")
    return keys


def to_json(keys: Mapping[str, ApiKey], indent: int | None = None) -> str:
    """The document of these keys."""
    records = tuple(KeyRecord.model_validate(asdict(key)) for key in keys.values())
    document = Document(version=1, keys=records)
    # `version` has no default, so it stays.
    return document.model_dump_json(exclude_defaults=True, indent=indent)


def with_key(keys: Mapping[str, ApiKey], key: ApiKey, where: str) -> dict[str, ApiKey]:
    """The keys and one more.

    Raises:
        KeyExists: one has its id.
    """
    if key.id in keys:
        raise KeyExists(key.id, where)
    return {**keys, key.id: key}


def with_revoked(keys: Mapping[str, ApiKey], key_id: str, when: datetime, where: str) -> dict[str, ApiKey]:
    """The keys, this one ending at a time.

    Raises:
        KeyNotFound: none has this id.
    """
    if key_id not in keys:
        raise KeyNotFound(key_id, where)
    return {**keys, key_id: keys[key_id].revoked_from(when)}


def _problem(error: ValidationError, where: str) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {f'{path}: ' if path else ''}{message}: mend it, or restore it from a copy"
