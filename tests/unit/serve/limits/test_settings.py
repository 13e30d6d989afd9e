"""``limits:`` as it stands in the settings."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from serve.caller import UNLIMITED, Limits
from serve.limits.settings import LimitSettings


def test_nothing_said_is_no_limit() -> None:
    assert LimitSettings().limits() == UNLIMITED


def test_every_limit_has_a_setting_of_its_name_and_keeps_its_value() -> None:
    values = {"requests_per_second": 0.5, "rows_per_second": 200, "concurrency": 3, "body_bytes": 4096, "batch_rows": 7}
    assert {field.name for field in fields(Limits)} == set(LimitSettings.model_fields) == set(values)
    assert LimitSettings.model_validate(values).limits() == Limits(0.5, 200, 3, 4096, 7)


@pytest.mark.parametrize("name", LimitSettings.model_fields)
@pytest.mark.parametrize("value", [0, -1, "5", float("nan"), float("inf"), True])
def test_a_limit_is_a_number_above_zero(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        LimitSettings.model_validate({name: value})


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="requests_per_minute"):
        LimitSettings.model_validate({"requests_per_minute": 5})
