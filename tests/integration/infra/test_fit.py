"""The fit check on the stacks as their program makes them: they fit, and what a misfit says to change fits again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import serving, settings
from infra.__main__ import program
from infra.check import fit_command
from infra.check.fit import fit_table
from infra.check.graph import stack_of
from infra.check.record import Recording, record
from policies.fit import fit
from policies.fit.misfit import Misfit
from tests.documentation import examples
from tests.unit.policies.fit.configs import LLAMA

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/fit.md"


def recorded(name: str, **sections: Any) -> Recording:
    """``sections``: of the stack's settings, laid over its own; ``None`` leaves one out."""
    config = settings.config_of(ROOT / f"Pulumi.{name}.yaml")
    for section, given in sections.items():
        key = f"{settings.PROJECT}:{section}"
        if given is None:
            config.pop(key, None)
            continue
        before = json.loads(config.get(key, "{}")) if isinstance(given, dict) else {}
        config[key] = json.dumps({**before, **given}) if isinstance(given, dict) else given
    return record(program, project=settings.PROJECT, stack=name, config=config)


def misfits(name: str, **sections: Any) -> list[Misfit]:
    return list(fit(stack_of(recorded(name, **sections))))


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("dev", ["ECS service ingress-cpu", "Lambda function function"]),
        (
            "prod",
            [
                "ECS service ingress-cpu",
                "ECS service ingress-gpu",
                *["RayService kuberay-service"] * 3,
                "Lambda function function",
                "Container App azure-apps",
            ],
        ),
    ],
)
def test_the_stacks_of_this_repository_fit(name: str, places: list[str]) -> None:
    recording = recorded(name)
    assert list(fit(stack_of(recording))) == []
    lines = list(fit_table(recording))
    assert [line.strip().partition("  ")[0] for line in lines] == places


def served(monkeypatch: pytest.MonkeyPatch, folder: Path, **sections: Any) -> str:
    """The cloud's serving settings with other sections, as a file that a stack may name."""
    document = yaml.safe_load((serving.ROOT / "serve.cloud.yaml").read_text())
    (folder / "serving.yaml").write_text(yaml.safe_dump({**document, **sections}))
    monkeypatch.setattr(serving, "ROOT", folder)
    return "serving.yaml"


def test_more_than_a_task_has_is_refused_and_the_named_size_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = {"flight-delay": {"needs": {"memory_gib": 3}}}
    file = served(monkeypatch, tmp_path, models=models)
    found = misfits("dev", serving=file)
    assert {each.check for each in found} == {"memory"}
    assert "\n".join(str(each) for each in found) in PAGE.read_text()
    changes = {change.path: change.value for each in found for change in each.changes}
    assert set(changes) == {"ecs.size", "function.memory"}
    mended = {"ecs": {"size": changes["ecs.size"]}, "function": {"memory": changes["function.memory"]}}
    assert misfits("dev", serving=file, **mended) == []


def test_a_model_built_for_another_gpu_is_refused_on_both_ways_to_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = {"placement": "replica", "gpus": 1, "needs": {"gpu_memory_gib": 30, "compute_capability": "8.9"}}
    file = served(monkeypatch, tmp_path, models={"flight-delay": {}, "images": model})
    only_aws = {"serving": file, "azure": None, "ledger": None}
    found = [each for each in misfits("prod", **only_aws) if each.check == "gpus"]
    changes = {change.path: change.value for each in found for change in each.changes}
    assert changes == {"ecs.gpus.instance_type": "g6e.xlarge", "eks.gpus.instance_type": "g6e.xlarge"}
    before = json.loads(settings.config_of(ROOT / "Pulumi.prod.yaml")[f"{settings.PROJECT}:eks"])
    gpus = {"instance_type": "g6e.xlarge", "least": 0, "most": 4}
    mended = {"ecs": {"gpus": gpus}, "eks": {**before, "gpus": gpus}}
    assert [each for each in misfits("prod", **only_aws, **mended) if each.check == "gpus"] == []


def test_the_page_shows_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(LLAMA)
    shown = [each for each in examples(PAGE) if each.program.startswith("python -m infra fit")]
    assert shown
    for example in shown:
        code = fit_command.main(shlex.split(example.program)[4:])
        printed = capsys.readouterr().out.strip()
        assert printed == example.output
        assert code == ("fits not" in printed)
