"""What a container gets of the serving settings' language models."""

from typing import Any

import pytest
import yaml

from infra.aws import language, served
from infra.aws.ledger import with_ledger
from infra.aws.unfit import UnfitForContainer
from serve.settings import Settings, SettingsText, read_settings
from tests.unit.infra.aws.serving_stack import ON_BOTH, serving

OWN: dict[str, Any] = {"kind": "vllm", "model": "registry:chat@champion", "gpus": 1}
BOUGHT: dict[str, Any] = {"kind": "bedrock", "model": "amazon.nova-lite-v1:0", "regions": ["us-east-1"]}
ROUTES: dict[str, Any] = {
    "own": {"routes": [{"backend": "own"}]},
    "both": {"routes": [{"backend": "own"}, {"backend": "bought", "priority": 1}]},
    "bought": {"routes": [{"backend": "bought"}]},
}


def text(own: dict[str, Any] | None = None, models: dict[str, Any] | None = None, **usage: Any) -> str:
    backends = {"own": {**OWN, **(own or {})}, "bought": BOUGHT}
    return serving(models, backends=backends, language_models=ROUTES, usage={"ledger": None, **usage})


def read(written: str) -> Settings:
    return read_settings(SettingsText(written, "here"))


class TestRead:
    def test_takes_versions_of_the_registry_and_ids_of_a_hub(self) -> None:
        assert set(served.read(text()).backends) == {"own", "bought"}
        served.read(text({"model": "meta-llama/Llama-3.2-3B"}))

    @pytest.mark.parametrize(
        ("own", "usage", "message"),
        [
            (
                {"model": "/models/llama"},
                {},
                r"backends\.own\.model is /models/llama, expected registry:NAME@ALIAS, or a",
            ),
            ({"model": "~/llama"}, {}, "a container has no such folder"),
            (
                {"adapters": {"a": "adapters/a"}},
                {},
                r"backends\.own\.adapters\.a is adapters/a, expected registry:NAME@AL",
            ),
            ({"gpus": 0}, {}, r"backends\.own\.gpus is 0, expected above 0: the image serve-llm"),
            (
                {},
                {"ledger": "sqlite:///tmp/x.db"},
                r"usage\.ledger is sqlite:///tmp/x\.db, expected null, or a `ledger`",
            ),
            ({}, {"journals": "/var/journals"}, r"usage\.journals is /var/journals, expected a folder below /tmp"),
        ],
    )
    def test_refuses_what_a_container_cannot_have(
        self, own: dict[str, Any], usage: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UnfitForContainer, match=message):
            served.read(text(own, **usage))

    def test_a_ledger_of_the_stack_takes_the_place_of_the_default_one(self) -> None:
        served.read(serving(backends={"bought": BOUGHT}, language_models={"a": ROUTES["bought"]}), ledger=True)

    def test_engines_need_a_stack_with_gpus(self) -> None:
        with pytest.raises(UnfitForContainer, match=r"backends\.own\.gpus is above 0.*eks\.gpus is not given"):
            served.read_for("eks", None, text(), ledger=False)


class TestWithoutGpus:
    def test_routes_to_engines_are_left_out_and_names_that_had_no_others(self) -> None:
        left = read(served.without_gpus(text()))
        assert set(left.backends) == {"bought"}
        assert {name: [route.backend for route in each.routes] for name, each in left.language_models.items()} == {
            "both": ["bought"],
            "bought": ["bought"],
        }
        assert set(left.models) == {"flights"}

    def test_the_text_is_the_same_where_all_is_bought(self) -> None:
        bought = serving(backends={"bought": BOUGHT}, language_models={"a": ROUTES["bought"]})
        assert served.without_gpus(bought) == bought

    def test_language_models_alone_may_be_left(self) -> None:
        left = read(served.without_gpus(text(models={})))
        assert (left.models, set(left.language_models)) == ({}, {"both", "bought"})

    def test_refuses_to_leave_nothing(self) -> None:
        alone = serving({}, backends={"own": OWN}, language_models={"own": ROUTES["own"]})
        with pytest.raises(UnfitForContainer, match="every model asks for GPUs"):
            served.without_gpus(alone)


def test_a_task_has_the_gpus_of_all_replicas_of_engines_and_their_workers() -> None:
    assert served.gpus_needed(read(text({"replicas": 2, "tensor_parallel": 4}))) == 8
    assert served.gpus_needed(read(text({}, models=ON_BOTH))) == 2
    assert language.parallel(read(text({"tensor_parallel": 4}))) == 4


def test_the_image_has_engines_where_one_runs() -> None:
    assert (language.gpu_image(read(text())), language.pod_image(read(text()))) == ("serve-llm", "serve-llm")
    assert (language.gpu_image(read(serving())), language.pod_image(read(serving()))) == ("serve-gpu", "serve")


class TestOfAFunction:
    def test_has_models_of_tables_alone(self) -> None:
        left = yaml.safe_load(language.without(text()))
        assert set(left["models"]) == {"flights"}
        assert not set(left) & {"backends", "language_models", "usage"}
        assert language.without(serving()) == serving()

    def test_refuses_language_models_alone(self) -> None:
        with pytest.raises(
            UnfitForContainer, match="language_models alone, expected one in models: a function runs no"
        ):
            language.without(text(models={}))


def test_the_ledger_is_written_into_the_settings_as_the_ingress_reads_them() -> None:
    budgets = [{"dollars_per_day": 5}]
    base = serving(backends={"bought": BOUGHT}, language_models={"a": ROUTES["bought"]}, usage={"budgets": budgets})
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-AbCdEf"
    usage = read(with_ledger(base, "ledger.internal", f"secretsmanager:{arn}?region=us-east-1")).usage
    assert usage.ledger == "postgresql://usage@ledger.internal:5432/usage?sslmode=require"
    assert usage.password == f"secretsmanager:{arn}?region=us-east-1"
    assert str(usage.journals) == "/tmp/journals"
    assert [each.dollars_per_day for each in usage.budgets] == [5]
