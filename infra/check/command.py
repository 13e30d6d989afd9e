"""``python -m infra check``: a stack's program against what AWS would say, with no account and no Pulumi CLI."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from console import Arguments, UserError, run, say, stage
from infra import settings
from infra.check import rules
from infra.check.apply import check_applied, skipped, work_folder
from infra.check.canaries import Canaries, Log
from infra.check.cost import LOOSE, cost_table
from infra.check.emulator import is_installed
from infra.check.finding import Finding
from infra.check.fit import fit_table
from infra.check.pack import held, rules_table, told
from infra.check.record import Outputs, Recording, Resource, record
from infra.check.tool import Missing, Terraform

FOUND = 1
"""Exit code when something is wrong with the stack."""

Program = Callable[[], None]


class CheckError(UserError):
    """The check can't be run as it was asked for."""


@dataclass(frozen=True)
class Asked:
    """``folder``: where ``Pulumi.yaml`` lies. ``plugins``: where Terraform's provider lies, if not in a usual place."""

    stack: str
    folder: Path
    plan: bool = False
    apply: bool = False
    keep: Path | None = None
    plugins: Path | None = None
    rules: bool = False


def main(argv: Sequence[str], program: Program | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Exit code 0: nothing was found, 1: something was, 2: a mistake of the user's."""
    return run(lambda: Check(_asked(argv, environment), program or _stack_program()).run())


def _asked(argv: Sequence[str], environment: Mapping[str, str]) -> Asked:
    parser = Arguments(prog="python -m infra check", description=__doc__)
    parser.add_argument("--stack", required=True, help="its settings are in Pulumi.STACK.yaml")
    parser.add_argument("--plan", action="store_true", help="plan the AWS part with Terraform's AWS provider, too")
    parser.add_argument("--apply", action="store_true", help="plan, apply to an emulator and destroy (minutes)")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep Terraform's files and logs in this new folder"
    )
    parser.add_argument("--rules", action="store_true", help="list the policy pack's rules, and what each matched")
    parser.add_argument("--folder", type=Path, default=Path(), help="where Pulumi.yaml lies (here)")
    parser.add_argument(
        "--plugins",
        type=Path,
        default=environment.get("TF_PLUGIN_DIR"),
        metavar="FOLDER",
        help="where Terraform's providers lie, if not in a usual place (or TF_PLUGIN_DIR)",
    )
    given = parser.parse_args(list(argv))
    if given.keep is not None:
        _refuse_used(given.keep)
    return Asked(given.stack, given.folder, given.plan, given.apply, given.keep, given.plugins, given.rules)


def _refuse_used(keep: Path) -> None:
    """Raises:
    CheckError: it is no new folder, or none can be made there.
    """
    if any(each.exists() and not each.is_dir() for each in (keep, *keep.parents)):
        raise CheckError(f"--keep {keep}: a file is there: name a new folder")
    if keep.exists() and any(keep.iterdir()):
        raise CheckError(f"--keep {keep}: is not empty: name a new folder")


def _stack_program() -> Program:
    from infra.__main__ import program

    return program


class Check:
    def __init__(self, asked: Asked, program: Program) -> None:
        self._asked = asked
        self._program = program
        self._file = asked.folder / f"Pulumi.{asked.stack}.yaml"
        self._canaries = Canaries.for_keys(settings.SECRET_KEYS)
        self._log = Log()

    def run(self) -> int:
        started = time.monotonic()
        stack = settings.read_settings(self._file)
        found: list[Finding] = []
        with stage(f"record {self._asked.stack}") as current:
            recording = self._recorded()
            current.detail = f"{sum(each.custom for each in recording.resources)} resources"
        for line in table(recording):
            say(line)
        without = rules.without()
        with stage("hold it against the rules") as current:
            usable = {name: rule for name, rule in rules.RULES.items() if name not in without}
            found += rules.findings(recording, usable)
            found += self._canaries.in_recording(recording)
            found += self._canaries.in_log(self._log)
            current.detail = f"{len(usable)} rules, {len(self._canaries.tokens)} planted secrets, {len(found)} findings"
        with stage("hold it against the policy pack") as current:
            policies = held(recording, self._asked.folder)
            current.detail = f"{len(policies.levels)} rules, {len(policies.mandatory)} refusals"
        if self._asked.rules:
            for line in rules_table(recording, policies):
                say(line)
        with stage("estimate a month's cost"):
            costs = list(cost_table(recording, policies.bound.assumptions(), policies.bound.region))
        for line in costs:
            say(line)
        with stage("fit what is served to the nodes"):
            places = list(fit_table(recording))
        for line in places:
            say(line)
        more, reason = self._applied(stack)
        found += more
        for line in skipped(recording):
            say(line)
        for rule, package in without.items():
            say(f"not checked: the rule {rule}: {package}")
        if reason:
            say(f"not checked: {reason}")
        for line in told(policies.advice):
            say(f"advice: {line}")
        count = len(found) + len(policies.mandatory)
        if count:
            say("✗ refused")
        for each in found:
            say(str(each))
        for line in told(policies.mandatory):
            say(line)
        say(f"{count} findings in {time.monotonic() - started:.1f} s")
        return FOUND if count else 0

    def _recorded(self, provider: Outputs | None = None) -> Recording:
        config = settings.config_of(self._file) | self._canaries.config(settings.PROJECT)
        keys = [f"{settings.PROJECT}:{key}" for key in settings.SECRET_KEYS]
        with self._log.listening():
            return record(
                self._program,
                project=settings.PROJECT,
                stack=self._asked.stack,
                config=config,
                secret_keys=keys,
                provider=provider,
            )

    def _applied(self, stack: settings.StackSettings) -> tuple[list[Finding], str]:
        """What Terraform finds, and why it was not asked."""
        if not (self._asked.plan or self._asked.apply):
            return [], "plan and apply: ask for them with --plan or --apply"
        terraform = Terraform.found(self._asked.plugins)
        if isinstance(terraform, Missing):
            return [], f"plan and apply: {terraform.what}"
        if not is_installed():
            return [], "plan and apply: moto[server] is not installed"
        with work_folder(self._asked.keep) as folder:
            seen = check_applied(
                self._recorded,
                terraform,
                stack.region,
                folder,
                apply=self._asked.apply,
                destroy=not stack.protect,
            )
            found = [*seen.findings, *self._canaries.in_folder(folder)]
        if self._asked.apply and stack.protect:
            return found, "destroy: the stack protects its data"
        return found, ""


def table(recording: Recording) -> Iterator[str]:
    """The stack's components, one a line, with what is in them."""
    rows = [(name, _custom(below)) for name, below in recording.outermost()]
    placed = {each.urn for _, resources in rows for each in resources}
    if loose := [each for each in _custom(recording.resources) if each.urn not in placed]:
        rows.append((LOOSE, loose))
    width = max((len(name) for name, _ in rows), default=0)
    for name, resources in rows:
        kinds = Counter(each.type.rpartition(":")[2] for each in resources)
        shown = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in kinds.most_common())
        yield f"  {name:<{width}}  {len(resources):>4}  {shown}"
    yield f"  {'all':<{width}}  {sum(len(resources) for _, resources in rows):>4}"


def _custom(resources: Sequence[Resource]) -> list[Resource]:
    return [each for each in resources if each.custom]
