"""What an answer costs, bought or made, as the tables of docs/llm-comparison.md.

A GPU writes a token for each of its sequences in the time in which it reads the weights and their keys and values
once (https://arxiv.org/abs/2211.05102, section 2.1), and reads prompts as fast as it multiplies. Prices are those of
``policies/prices`` and ``serve/llm/bedrock/prices.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from console import say
from policies.cost.prices import shipped
from policies.fit.instances import A10G, INSTANCES, L4, L40S, Gpu
from policies.fit.llm import Load, ModelConfig, parameters
from serve.llm.bedrock.prices import price

REGION = "us-east-1"
INPUT_TOKENS = 1000
OUTPUT_TOKENS = 250
HOURS = 730

MODEL = ModelConfig(
    model_type="llama",
    hidden_size=4096,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    intermediate_size=14_336,
    vocab_size=128_256,
    tie_word_embeddings=False,
    torch_dtype="bfloat16",
)
"""Llama 3.1 8B, by its own ``config.json``."""

CONTEXT = 2048
MOST_SEQUENCES = 64

OWN = {"g6.xlarge": L4, "g5.xlarge": A10G, "g6e.xlarge": L40S}
"""With one GPU each."""
BOUGHT = {
    "Nova Micro": "amazon.nova-micro-v1:0",
    "Nova Lite": "amazon.nova-lite-v1:0",
    "Nova Pro": "amazon.nova-pro-v1:0",
    "Claude Haiku 4.5": "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "Claude Sonnet 5.5": "global.anthropic.claude-sonnet-5-5",
}


@dataclass(frozen=True)
class Speed:
    """By NVIDIA's data sheets: bytes a second of the memory, and operations a second in bfloat16, without sparsity."""

    bandwidth: float
    operations: float


SPEEDS: Mapping[str, Speed] = {
    "L4": Speed(300e9, 121e12),
    "A10G": Speed(600e9, 70e12),
    "L40S": Speed(864e9, 362e12),
    "A100": Speed(1555e9, 312e12),
    "H100": Speed(3350e9, 989e12),
}

USED_BANDWIDTH = 0.77
"""Measured for this model by vLLM on an A100: https://johnmusgrave.com/p/vllm-throughput-latency-sweep-on"""

USED_OPERATIONS = 0.5
"""Assumed."""


@dataclass(frozen=True)
class Made:
    """The model on one GPU of an instance that works all the time, with ``sequences`` at once."""

    instance: str
    gpu: Gpu
    dollars_an_hour: float
    sequences: int

    @property
    def speed(self) -> Speed:
        return SPEEDS[self.gpu.model]

    @property
    def prompt_seconds(self) -> float:
        """Of one request: the least that its first token takes."""
        return 2 * parameters(MODEL) * INPUT_TOKENS / (self.speed.operations * USED_OPERATIONS)

    @property
    def tokens_a_second(self) -> float:
        """Of all sequences together, while no prompt is read."""
        held = self.sequences * (INPUT_TOKENS + OUTPUT_TOKENS / 2) * load(1).token_bytes
        return self.sequences * self.speed.bandwidth * USED_BANDWIDTH / (load(1).weight_bytes + held)

    @property
    def requests_an_hour(self) -> float:
        return 3600 / (self.prompt_seconds + OUTPUT_TOKENS / self.tokens_a_second)

    @property
    def answer_seconds(self) -> float:
        """Of one request among the others."""
        return self.sequences * 3600 / self.requests_an_hour


def load(sequences: int) -> Load:
    return Load(MODEL, "bfloat16", CONTEXT, sequences)


def made() -> Iterator[Made]:
    """On each instance, with as many sequences as fit it."""
    for name, gpu in OWN.items():
        able = [each for each in range(1, MOST_SEQUENCES + 1) if load(each).fits(INSTANCES[name])]
        yield Made(name, gpu, shipped().of("aws", REGION, f"ec2.{name}").low, max(able))


def dollars_a_request(model: str) -> float:
    """Bought.

    Raises:
        LookupError: the model's price is not known.
    """
    found = price(model)
    if found is None:
        raise LookupError(model)
    return (INPUT_TOKENS * found.input + OUTPUT_TOKENS * found.output) / 1e6


def lines() -> Iterator[str]:
    """Markdown."""
    columns = (
        "made on",
        "$ an hour",
        "at once",
        "first token, at least",
        "tokens/s, all together",
        "an answer takes",
        "requests an hour",
        "$ for 1,000 requests",
    )
    yield _row(*columns)
    yield "|---" * len(columns) + "|"
    for own in made():
        yield _row(
            f"{own.instance}, {own.gpu.model}",
            f"{own.dollars_an_hour:.4g}",
            own.sequences,
            f"{own.prompt_seconds * 1000:.0f} ms",
            f"{own.tokens_a_second:,.0f}",
            f"{own.answer_seconds:.1f} s",
            f"{own.requests_an_hour:,.0f}",
            f"{1000 * own.dollars_an_hour / own.requests_an_hour:.3f}",
        )
    yield ""
    yield _row("bought", "$ for 1,000 requests", *(f"as dear as a {own.instance}" for own in made()))
    yield "|---" * (2 + len(OWN)) + "|"
    for name, model in BOUGHT.items():
        each = dollars_a_request(model)
        yield _row(name, f"{1000 * each:.3f}", *(_break_even(own, each) for own in made()))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _break_even(own: Made, bought: float) -> str:
    """At how many requests an hour both cost the same, and how busy the instance is then."""
    requests = own.dollars_an_hour / bought
    if requests > own.requests_an_hour:
        return "never: buy"
    return f"{requests:,.0f} an hour, {requests / own.requests_an_hour:.0%} busy"


if __name__ == "__main__":
    for line in lines():
        say(line)
