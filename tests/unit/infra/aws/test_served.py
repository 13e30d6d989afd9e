"""What a container gets of the serving settings."""

from typing import Any

import pytest
import yaml

from infra.aws import served
from serve.settings import SettingsError, SettingsText, read_settings
from tests.unit.infra.aws.serving_stack import ON_BOTH, ON_CPU, serving


class TestRead:
    def test_gives_the_settings_of_the_text(self) -> None:
        assert served.read(serving()).http.port == 8080

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"http": {"host": "10.0.0.1"}}, "http.host is 10.0.0.1, expected 0.0.0.0"),
            ({"http": {"tls": {"certificate": "a.pem", "key": "b.pem"}}}, "http.tls is set, expected null"),
            (
                {"access": {"keys": "sqlite:///keys.db"}},
                "access.keys is sqlite:///keys.db, expected secretsmanager:NAME",
            ),
            ({"registry": {"cache": "build/models"}}, "registry.cache is build/models, expected a folder below /tmp"),
            ({"access_log": {"folder": "logs"}}, "access_log.folder is logs, expected a folder below /tmp"),
        ],
    )
    def test_refuses_what_a_container_cannot_have(self, changed: dict[str, Any], message: str) -> None:
        with pytest.raises(served.UnfitForContainer, match=f"^the serving settings: {message}"):
            served.read(serving(**changed))

    def test_names_the_path_of_what_the_settings_themselves_refuse(self) -> None:
        with pytest.raises(SettingsError, match=r"^the serving settings: http\.prt: unknown key"):
            served.read(serving(http={"prt": 1}))


class TestWithoutGpus:
    def test_is_the_same_text_where_no_model_asks_for_any(self) -> None:
        assert served.without_gpus(serving()) == serving()

    def test_leaves_those_models_out_and_nothing_else(self) -> None:
        whole = yaml.safe_load(serving(ON_BOTH, default_model="flights"))
        left = read_settings(SettingsText(served.without_gpus(yaml.safe_dump(whole)), "left"))
        whole["models"] = ON_CPU
        assert left == read_settings(SettingsText(yaml.safe_dump(whole), "expected"))

    def test_has_no_default_model_that_is_left_out(self) -> None:
        left = yaml.safe_load(served.without_gpus(serving(ON_BOTH, default_model="images")))
        assert "default_model" not in left

    def test_refuses_to_leave_none(self) -> None:
        text = serving({"images": {"placement": "replica", "gpus": 1}})
        with pytest.raises(served.UnfitForContainer, match="every model asks for GPUs"):
            served.without_gpus(text)


@pytest.mark.parametrize(
    ("models", "needed"),
    [
        (ON_CPU, 1),
        ({"a": {"placement": "replica", "gpus": 0.5, "replicas": 3}}, 2),
        ({"a": {"placement": "replica", "gpus": 1, "autoscaling": {"lowest": 2, "highest": 9}}}, 2),
    ],
)
def test_a_task_has_the_gpus_that_its_replicas_need_at_first(models: dict[str, Any], needed: int) -> None:
    assert served.gpus_needed(served.read(serving(models))) == needed


def test_a_container_may_take_as_long_as_its_drain_to_end_and_no_longer_than_fargate_waits() -> None:
    assert served.stop_seconds(served.read(serving())) == 22
    assert served.stop_seconds(served.read(serving(ingress={"drain_seconds": 600}))) == 120
