"""A language model through the ingress, beside vLLM's own server with the same settings, on this machine.

Both hold the same model at once, and one works at a time, in turns. Every stream asks for as many tokens, and is not
ended by the model. The client is one process for both. Each figure of them is the median of the rounds, and each ratio
that of the ratios within a round.

Errors::

    UserError
    └── StreamFailed    an answer is no stream of as many tokens as were asked for
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.one_layer import one_layer
from benchmarks.paired import ratio
from benchmarks.ports import free_port
from console import UserError, say, stage
from demo.language_model import small_model
from demo.processes import Processes
from serve.settings import KEY_VARIABLE

MODELS = Path("build/language-models")
NAME = "measured"
STREAMS = (1, 4, 16)
SEQUENCES = 16
START_SECONDS = 300
ANSWER_SECONDS = 120
LEAST_RATE = 0.95
MOST_WAIT = 1.1

OURS, THEIRS = WHO = ("ingress", "vLLM")

LINE = "{:>7}  {:>8}  {:>6}  {:>16}  {:>11}  {:>7}  {:>16}  {:>20}"

GATEWAY = ("ray::ServeReplica:default:ingress", "haproxy")
"""How the processes begin, by their command line, through which a token goes on its way from the engine."""


class StreamFailed(UserError):
    """An answer is not what was asked for."""


@dataclass(frozen=True)
class Options:
    """``tokens``: of each answer. ``one_layer``: by a model whose tokens cost the engine next to nothing."""

    rounds: int = 12
    tokens: int = 32
    one_layer: bool = False


@dataclass(frozen=True)
class Contestant:
    """``model``: its name there."""

    name: str
    url: str
    model: str
    key: str


@dataclass(frozen=True)
class Round:
    """``rate``: tokens a second over all streams; ``wait``: the median of the seconds to their first token.

    ``gateway_cpu``: milliseconds a token that the gateway used meanwhile, also where the tokens did not go through it.
    """

    contestant: str
    streams: int
    rate: float
    wait: float
    gateway_cpu: float


def run(options: Options) -> None:
    """Measure, and print the table.

    Raises:
        UserError: a server does not start, or answers wrongly.
    """
    model = small_model(MODELS)
    if options.one_layer:
        model = one_layer(model, MODELS)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        contestants = list(_started(model, folder, stack))
        rounds: list[Round] = []
        for contestant in contestants:
            asyncio.run(_measured(contestant, 1, options.tokens))
        with stage("measure in turns") as step:
            for number in range(options.rounds):
                for streams in STREAMS:
                    # Who comes first changes, so that what the one leaves to the other falls on both.
                    turn = contestants if number % 2 else contestants[::-1]
                    rounds += [asyncio.run(_measured(each, streams, options.tokens)) for each in turn]
            step.detail = f"{options.rounds} rounds of {options.tokens} tokens a stream"
    for line in table(rounds):
        say(line)


def table(rounds: list[Round]) -> Iterator[str]:
    """A line for each number of streams, from rounds in the order in which they were measured."""
    heads = ("STREAMS", "TOKENS/S", "vLLM", "RATIO", "FIRST TOKEN", "vLLM", "RATIO", "GATEWAY CPU A TOKEN")
    yield LINE.format(*heads)
    for streams in sorted({each.streams for each in rounds}):
        ours, theirs = ([each for each in rounds if (each.contestant, each.streams) == (who, streams)] for who in WHO)
        rates, waits = ([[getattr(each, of) for each in found] for found in (ours, theirs)] for of in ("rate", "wait"))
        yield LINE.format(
            streams,
            *(f"{statistics.median(found):.1f}" for found in rates),
            str(ratio(*rates)),
            *(f"{statistics.median(found):.3f} s" for found in waits),
            str(ratio(*waits)),
            _cpu(ours, theirs),
        )
    yield f"asked: at least {LEAST_RATE} × the tokens, at most {MOST_WAIT} × the wait for the first"


def _cpu(ours: list[Round], theirs: list[Round]) -> str:
    """What Serve does when nothing comes is in it: it shows while the other one works.

    Means, for the system counts in steps of ten milliseconds.
    """
    used, idle = (statistics.fmean(each.gateway_cpu for each in found) for found in (ours, theirs))
    return f"{used:.2f} ms, {idle:.2f} idle"


def _started(model: Path, folder: Path, stack: ExitStack) -> Iterator[Contestant]:
    from serve.llm.settings import Vllm
    from serve.llm.vllm.arguments import command_line, environment

    vllm: dict[str, Any] = {"model": str(model.resolve()), "dtype": "float32", "max_length": 2048}
    vllm |= {"sequences": SEQUENCES, "prefix_cache": False}
    settings = _settings(folder, vllm)
    processes = Processes(folder / "logs", {"SERVE_SETTINGS": str(settings)})
    stack.callback(processes.require_none_left)
    url = f"http://127.0.0.1:{yaml.safe_load(settings.read_text())['http']['port']}"
    serving = stack.enter_context(processes.background("serve", "run", "serve.config"))
    with stage("wait for the ingress"):
        serving.wait_until_ready(f"{url}/v2/health/ready", START_SECONDS)
    key = processes.secret("python", "-m", "serve", "keys", "create", "benchmark", "--models", NAME, "--expires", "1h")
    yield Contestant(OURS, url, NAME, key)
    own = Vllm.model_validate({"kind": "vllm", **vllm})
    port = free_port()
    server = stack.enter_context(
        processes.background(
            *("python", "-m", "vllm.entrypoints.launchers.api_server.entry"),
            *command_line(NAME, own),
            *("--host", "127.0.0.1", "--port", str(port)),
            environment={**environment(own), KEY_VARIABLE: ""},
        )
    )
    with stage("wait for vLLM's own server"):
        server.wait_until_ready(f"http://127.0.0.1:{port}/health", START_SECONDS)
    yield Contestant(THEIRS, f"http://127.0.0.1:{port}", NAME, "-")


def _settings(folder: Path, vllm: dict[str, Any]) -> Path:
    document = {
        "http": {"port": free_port(), "request_timeout_seconds": ANSWER_SECONDS},
        "dashboard": {"port": free_port()},
        "access": {"keys": f"sqlite:///{folder / 'keys.db'}"},
        "access_log": {"folder": str(folder / "access")},
        "registry": {"cache": str(folder / "models")},
        "ingress": {"cpus": 0.5},
        "backends": {NAME: {"kind": "vllm", **vllm, "dollars_per_hour": 0.04}},
        "language_models": {NAME: {"routes": [{"backend": NAME}]}},
        "usage": {"ledger": f"sqlite:///{folder / 'usage.db'}"},
    }
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


async def _measured(contestant: Contestant, streams: int, tokens: int) -> Round:
    headers = {"authorization": f"Bearer {contestant.key}"}
    limits = httpx.Limits(max_connections=streams)
    options: dict[str, Any] = {"headers": headers, "timeout": ANSWER_SECONDS, "limits": limits}
    async with httpx.AsyncClient(base_url=contestant.url, **options) as client:
        before, began = _gateway_cpu(), time.perf_counter()
        waits = await asyncio.gather(*(_stream(client, contestant.model, number, tokens) for number in range(streams)))
        seconds = time.perf_counter() - began
    carried = streams * tokens
    cpu = (_gateway_cpu() - before) * 1000 / carried
    return Round(contestant.name, streams, carried / seconds, statistics.median(waits), cpu)


async def _stream(client: httpx.AsyncClient, model: str, number: int, tokens: int) -> float:
    """Seconds to the first token.

    Raises:
        StreamFailed: there were not as many tokens.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"{number}: tell me a long story about the sea."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    began = time.perf_counter()
    wait, counted = 0.0, 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            raise StreamFailed(f"{client.base_url}: status {response.status_code}: {(await response.aread())[:200]!r}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if not wait and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                wait = time.perf_counter() - began
            counted = (chunk.get("usage") or {}).get("completion_tokens", counted)
    if counted != tokens:
        raise StreamFailed(f"{client.base_url}: {counted} tokens came, expected {tokens}")
    return wait


def _gateway_cpu() -> float:
    """Seconds of CPU that the gateway's processes have used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if Path(command.split(" ")[0]).name.startswith(GATEWAY) or command.startswith(GATEWAY):
                fields = (process / "stat").read_text().rpartition(") ")[2].split()
                used += (int(fields[11]) + int(fields[12])) / ticks
        except OSError:
            continue
    return used
