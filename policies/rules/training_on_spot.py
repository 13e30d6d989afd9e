"""``training-on-spot``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from policies.node import UNKNOWN, Node, unknown_at
from policies.reading.amounts import between, whole
from policies.reading.gpus import has_gpus
from policies.reading.instances import NODE_GROUP, TEMPLATES
from policies.reading.states import DEFINITION, MACHINE, Flow, inner
from policies.rule import EnforcementLevel, Resource, RuleConfig, Severity, Stack, Violation, each_held, stack_rule

CLUSTER = "aws:ecs/cluster:Cluster"
PROVIDERS = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
SPOT = "FARGATE_SPOT"


class Spot(RuleConfig):
    """``seconds``: a job with this limit or less may stay on demand, where an interruption costs more than it saves.

    ``nodes``: nodes of Kubernetes with GPUs are spot too.
    """

    seconds: int = 1800
    nodes: bool = True


@stack_rule(
    "training-on-spot",
    MACHINE,
    PROVIDERS,
    CLUSTER,
    NODE_GROUP,
    *TEMPLATES,
    group="cost and fit",
    severity=Severity.LOW,
    remedy="pipeline.spot: true and eks.gpus.spot: true in Pulumi.<stack>.yaml",
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html",
    config=Spot,
    level=EnforcementLevel.ADVISORY,
)
def training_on_spot(stack: Stack, config: Spot) -> Iterable[Violation]:
    """Long jobs of a pipeline and nodes with GPUs run on spare capacity, for what ends there is done again."""
    seen = stack.of_type(NODE_GROUP, MACHINE) if config.nodes else stack.of_type(MACHINE)
    return each_held(seen, partial(_of, stack, config))


def _of(stack: Stack, config: Spot, seen: Resource) -> Iterator[Violation]:
    if seen.type == MACHINE:
        yield from _of_machine(stack, seen, config)
    elif has_gpus(stack, seen):
        yield from seen.expect("capacityType", "SPOT")


def _of_machine(stack: Stack, machine: Resource, config: Spot) -> Iterator[Violation]:
    document = machine.document(DEFINITION)
    if document is None:
        return
    spot = False
    for state in _long_jobs(Flow(document), config.seconds):
        if any(_is_spot(each) for each in _parameters(state).each("CapacityProviderStrategy")):
            spot = True
        else:
            chosen = _parameters(state)
            got = chosen.get("CapacityProviderStrategy") or chosen.get("LaunchType")
            yield _parameters(state).violation("CapacityProviderStrategy", SPOT, got)
    if spot:
        yield from _listed(stack)


def _long_jobs(flow: Flow, seconds: int) -> Iterator[Node]:
    for state in flow.states().values():
        if ":ecs:runTask" in str(state.get("Resource")) and not between(0, seconds, state.get("TimeoutSeconds")):
            yield state
        for within in inner(state):
            yield from _long_jobs(within, seconds)


def _parameters(state: Node) -> Node:
    """JSONata's name of them is another."""
    return state.at("Arguments" if state.get("Arguments") is not None else "Parameters")


def _is_spot(strategy: Node) -> bool:
    return strategy.get("CapacityProvider") == SPOT and (whole(strategy.get("Weight")) or 0) > 0


def _listed(stack: Stack) -> Iterator[Violation]:
    """A cluster takes only the providers of its list. One of another stack isn't seen here."""
    providers = [each for listed in stack.of_type(PROVIDERS) for each in listed.each("capacityProviders")]
    if not stack.of_type(CLUSTER) or any(each.value == SPOT for each in providers):
        return
    for each in providers:
        if each.value is UNKNOWN:
            raise unknown_at(each.path)
    for listed in stack.of_type(PROVIDERS) or stack.of_type(CLUSTER):
        yield listed.violation("capacityProviders", SPOT, [each.value for each in providers])
