"""What language models need is asked for before anything is started."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import get_args

import pytest

from console import UserError
from serve.llm import requirements
from serve.llm.language import KINDS
from serve.llm.ledger.store import LedgerError
from serve.llm.requirements import PACKAGES, PackageMissing, require_language
from serve.llm.settings import BackendSettings
from serve.settings import Settings


def settings(ledger: str | None = None, **backend: object) -> Settings:
    given = {"kind": "bedrock", "model": "a.b", "regions": ["us-east-1"], **backend}
    return Settings.model_validate(
        {
            "backends": {"b": given},
            "language_models": {"a": {"routes": [{"backend": "b"}]}},
            "usage": {"ledger": ledger},
        }
    )


def test_what_is_there_is_enough(tmp_path: Path) -> None:
    require_language(settings(f"sqlite:///{tmp_path / 'usage.db'}"))
    assert not (tmp_path / "usage.db").exists()


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        requirements.importlib.util, "find_spec", lambda name: None if name == "botocore" else found(name)
    )
    with pytest.raises(PackageMissing, match=r"backends.b: botocore is not installed: .*\[llm,aws\]"):
        require_language(settings())


def test_a_ledger_that_is_none_is_refused() -> None:
    with pytest.raises(LedgerError):
        require_language(settings("mysql://x"))


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = Settings.model_validate(
        {
            "backends": {"b": {"kind": "vllm", "model": str(tmp_path / "empty")}},
            "language_models": {"a": {"routes": [{"backend": "b"}]}},
        }
    )
    with pytest.raises(UserError, match=r"without a config.json"):
        require_language(given)


def test_a_backend_that_nobody_routes_to_is_deployed_and_so_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = Settings.model_validate(
        {"models": {"parcels": {}}, "backends": {"b": {"kind": "vllm", "model": str(tmp_path / "empty")}}}
    )
    with pytest.raises(UserError, match=r"without a config.json"):
        require_language(given)


def test_each_kind_of_backend_can_be_made_and_has_its_packages() -> None:
    kinds = get_args(get_args(BackendSettings)[0])
    assert set(KINDS) == set(kinds)
    assert PACKAGES.keys() == {get_args(kind.model_fields["kind"].annotation)[0] for kind in kinds}
