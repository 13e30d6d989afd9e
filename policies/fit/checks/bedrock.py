"""Bedrock: the role may ask the models of the backends in their regions, and the network leads there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.fit.access import Grants, Target, arn, grants
from policies.fit.misfit import Change, Misfit
from policies.fit.networks import leads_to
from policies.fit.place import Place
from policies.fit.places.container_apps import ContainerApp
from policies.reading.iam import listed
from policies.reading.statement import covers, matches
from serve.llm.bedrock.ids import bare, base, is_global
from serve.settings import Bedrock

INVOKE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
GUARD = ("bedrock:ApplyGuardrail",)
REGION = "AWS_DEFAULT_REGION"

SETTINGS = {"foundation-model": "models", "inference-profile": "profiles", "guardrail": "guardrails"}
"""Kind of a resource → the setting of the stack's ``bedrock`` that lists it."""


@dataclass(frozen=True)
class Asked:
    """What one request needs. ``kind`` and ``id``: of the resource. ``via``: the profile through which it is asked."""

    region: str
    kind: str
    id: str
    via: str = ""

    @property
    def actions(self) -> Sequence[str]:
        return GUARD if self.kind == "guardrail" else INVOKE

    @property
    def resource(self) -> str:
        account = "" if self.kind == "foundation-model" else "*"
        return f"arn:aws:bedrock:{self.region}:{account}:{self.kind}/{self.id}"

    @property
    def target(self) -> Target:
        def covered(pattern: str) -> bool:
            parts = pattern.split(":", 5)
            if len(parts) < 6:
                return pattern == "*"
            asked = ("bedrock", self.region, f"{self.kind}/{self.id}")
            return all(
                matches(part, each, case=True) for part, each in zip((*parts[2:4], parts[5]), asked, strict=True)
            )

        return covered


def bedrock(place: Place) -> Iterator[Misfit]:
    backends = {name: each for name, each in place.settings.backends.items() if isinstance(each, Bedrock)}
    if not backends or not place.on_ray:
        return
    if isinstance(place, ContainerApp):
        for name, backend in backends.items():
            yield place.misfit(
                "bedrock",
                "",
                f"backends.{name} asks for {backend.model}",
                "an app on Azure has no credentials of AWS",
                "a place on AWS",
                (),
                otherwise="serving settings without it, in azure.serving",
            )
        return
    allowed = [grants(place.stack, role) for role in place.roles()]
    for name, backend in backends.items():
        yield from _allowed(place, f"backends.{name}", backend, allowed)
        yield from _reached(place, f"backends.{name}", backend)


def _asked(backend: Bedrock) -> Iterator[Asked]:
    """Not held: the models of other regions that a profile leads to, which AWS alone knows; but a global one leads to
    those whose ARNs name no region."""
    id_, model = bare(backend.model), base(backend.model)
    via = f"inference-profile/{id_}" if id_ != model else ""
    if is_global(backend.model):
        yield Asked("", "foundation-model", model, via)
    for region in backend.regions:
        if ":application-inference-profile/" not in backend.model:
            if via:
                yield Asked(region, "inference-profile", id_)
            yield Asked(region, "foundation-model", model, via)
        if backend.guardrail is not None:
            yield Asked(region, "guardrail", backend.guardrail.id)


def _allowed(place: Place, who: str, backend: Bedrock, allowed: Sequence[Grants]) -> Iterator[Misfit]:
    missing = [
        each
        for each in _asked(backend)
        if not all(any(grant.allows(one, each.target, each.via) for grant in allowed) for one in each.actions)
    ]
    needs = [(each.resource, each.actions, each.target) for each in missing]
    if ":application-inference-profile/" in backend.model:
        whole = arn(backend.model)
        if not all(any(grant.allows(action, whole) for grant in allowed) for action in INVOKE):
            needs.append((backend.model, INVOKE, whole))
    if not needs:
        return
    denied = any(
        grant.denies(action, target) for grant in allowed for _, actions, target in needs for action in actions
    )
    changes = () if denied or not place.roles() else _listing(place, missing, allowed)
    yield place.misfit(
        "bedrock",
        "",
        f"{who} asks for {', '.join(dict.fromkeys(action for _, actions, _ in needs for action in actions))} "
        f"on {', '.join(resource for resource, _, _ in needs)}",
        f"role {place.roles()[0].name} may not" if place.roles() else "the place has no role",
        "models, profiles, regions and guardrails of the stack's `bedrock`",
        changes,
        otherwise="no statement that denies it" if denied else "a policy that names it",
    )


def _listing(place: Place, missing: Iterable[Asked], allowed: Sequence[Grants]) -> list[Change]:
    """The stack's ``bedrock`` with what is missing. It lists by kind, and allows each in every region of it."""
    own = _own_region(place)
    had: dict[str, list[str]] = {}
    for grant in allowed:
        for statement in grant.statements:
            if statement.get("Effect") == "Allow" and any(covers(statement, each) for each in (*INVOKE, *GUARD)):
                for resource in listed(statement.get("Resource", [])):
                    _noted(had, str(resource), conditional=bool(statement.get("Condition")))
    had["regions"] = [each for each in had.get("regions", []) if each != own]
    wanted: dict[str, list[str]] = {}
    for each in missing:
        for key, value in ((SETTINGS[each.kind], each.id), ("regions", each.region)):
            if value not in ("", own, *had.get(key, [])):
                wanted.setdefault(key, []).append(value)
    return [
        place.in_stack(f"bedrock.{key}", list(dict.fromkeys([*had.get(key, []), *more])))
        for key, more in wanted.items()
    ]


def _noted(had: dict[str, list[str]], resource: str, *, conditional: bool) -> None:
    parts = resource.split(":", 5)
    kind, _, id_ = parts[-1].partition("/")
    if len(parts) < 6 or parts[2] != "bedrock" or kind not in SETTINGS or conditional or "*" in resource:
        return
    for key, value in ((SETTINGS[kind], id_), ("regions", parts[3])):
        if value not in had.setdefault(key, []):
            had[key].append(value)


def _reached(place: Place, who: str, backend: Bedrock) -> Iterator[Misfit]:
    """An address of one's own is taken as it is."""
    for region in backend.regions if backend.endpoint is None else ():
        if not leads_to(place.stack, "bedrock-runtime", region):
            own = region == _own_region(place)
            yield place.misfit(
                "bedrock",
                "",
                f"{who} asks Bedrock in {region}",
                "the network leads to no address of it",
                "an endpoint of bedrock-runtime there, or a way to the internet",
                (place.in_stack("bedrock.models", [base(backend.model)]),)
                if own
                else (place.in_stack("network.nat", True),),
            )


def _own_region(place: Place) -> str:
    return str(place.variable(REGION).get(default="") or "")
