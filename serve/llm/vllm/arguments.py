"""The settings of a vLLM backend, as vLLM takes them: words of its command line, and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from serve.llm.backend import MOST_INPUTS
from serve.llm.deployed.engine import EngineSettingsError
from serve.llm.deployed.refusals import MOST_CHOICES
from serve.llm.deployed.source import is_folder, model_source
from serve.llm.deployed.sources import rank_of
from serve.llm.settings import Vllm

GIB = 2**30

ARGUMENT = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")

OURS = frozenset(
    {
        "model",
        "served-model-name",
        "dtype",
        "max-model-len",
        "max-num-seqs",
        "max-num-queued-reqs",
        "tensor-parallel-size",
        "enable-prefix-caching",
        "no-enable-prefix-caching",
        "kv-cache-memory-bytes",
        "enable-lora",
        "lora-modules",
        "tool-call-parser",
        "enable-auto-tool-choice",
        "distributed-executor-backend",
        "structured-outputs-config",
        "config",
    }
)
"""Arguments that other settings decide."""

RANKS = (16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM makes room for, from its own default on."""

NO_MEDIA = "none.invalid"
"""A name that no host can have. With an empty list vLLM would fetch whatever address a request names."""


def command_line(name: str, settings: Vllm) -> list[str]:
    """What ``vllm serve`` would be given.

    Raises:
        EngineSettingsError: the model or an adapter is not there, or an argument is another setting's.
    """
    return [*_model(name, settings), *_engine(settings), *_adapters(name, settings), *_others(name, settings)]


def environment(settings: Vllm, *, on_loopback: bool = False) -> dict[str, str]:
    """Variables that the replica's process, and those that vLLM starts, are to have."""
    found = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_MAX_N_SEQUENCES": str(MOST_CHOICES),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        # Which it does by tags that xgrammar alone can hold. Calls that must come are held by their schemas.
        "VLLM_ENFORCE_STRICT_TOOL_CALLING": "0",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(round(settings.start_seconds)),
    }
    if is_folder(settings.model):
        found["HF_HUB_OFFLINE"] = "1"
    if on_loopback:
        found["VLLM_HOST_IP"] = "127.0.0.1"
    if not settings.gpus:
        # Threads that are bound to cores fight with Ray's other processes for them.
        found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(max(1, int(settings.cpus)))}
    if not _compiles(settings):
        # Else a request that is sampled, or asks for logprobs, has the engine start g++ and wait for it between the
        # tokens of all others, again for other sizes of batches; and where there is no g++ the engine dies of it.
        found["TORCH_COMPILE_DISABLE"] = "1"
    if not settings.gpus and settings.tensor_parallel == 1:
        # Else the engine's process starts another one for its only worker.
        found["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return found


def _model(name: str, settings: Vllm) -> Iterator[str]:
    yield f"--model={model_source(name, settings.model)}"
    yield f"--served-model-name={name}"
    yield f"--dtype={settings.dtype}"
    if settings.max_length is not None:
        yield f"--max-model-len={settings.max_length}"
    if settings.tool_parser is not None:
        yield "--enable-auto-tool-choice"
        yield f"--tool-call-parser={settings.tool_parser}"


def _engine(settings: Vllm) -> Iterator[str]:
    yield f"--max-num-seqs={settings.sequences}"
    yield f"--max-num-queued-reqs={most_sequences(settings)}"
    yield f"--tensor-parallel-size={settings.tensor_parallel}"
    yield "--enable-prefix-caching" if settings.prefix_cache else "--no-enable-prefix-caching"
    yield "--enable-prompt-tokens-details"
    # What schemas are tried with before they come to the engine.
    yield '--structured-outputs-config={"backend": "guidance"}'
    if settings.tensor_parallel == 1:
        yield "--distributed-executor-backend=uni"
    else:
        # Ray's places each worker on a GPU of the placement group; CPUs have no such bundles.
        yield f"--distributed-executor-backend={'ray' if settings.gpus else 'mp'}"
    if not settings.gpus:
        yield f"--kv-cache-memory-bytes={int(settings.cache_gib * GIB)}"


def _adapters(name: str, settings: Vllm) -> Iterator[str]:
    if not settings.adapters:
        return
    yield "--enable-lora"
    # One more, for a version that takes another one's place while requests of both run.
    yield f"--max-loras={len(settings.adapters) + 1}"
    if not {"max_lora_rank", "max-lora-rank"} & settings.arguments.keys():
        largest = max(rank_of(Path(path).expanduser()) for path in settings.adapters.values())
        yield f"--max-lora-rank={next((rank for rank in RANKS if rank >= largest), RANKS[-1])}"
    yield "--lora-modules"
    for adapter, path in settings.adapters.items():
        folder = Path(path).expanduser()
        if not (folder / "adapter_config.json").is_file():
            raise EngineSettingsError(name, f"adapters.{adapter}: {path} is no folder with an adapter_config.json")
        if "=" in str(folder.resolve()) or "," in str(folder.resolve()):
            raise EngineSettingsError(name, f"adapters.{adapter}: {path} has '=' or ',' in it, which vLLM can't take")
        yield f"{adapter}={folder.resolve()}"


def _others(name: str, settings: Vllm) -> Iterator[str]:
    given = _given(settings)
    for argument in given:
        if ARGUMENT.fullmatch(argument) is None:
            raise EngineSettingsError(name, f"arguments: {argument!r} is no name of an argument")
        if argument in OURS:
            raise EngineSettingsError(name, f"arguments.{argument}: the backend's other settings decide it")
    if not _compiles(settings) and "enforce-eager" not in given:
        yield "--enforce-eager"
    if "allowed-media-domains" not in given:
        yield f"--allowed-media-domains={NO_MEDIA}"
    for argument, value in given.items():
        if isinstance(value, bool):
            yield f"--{argument}" if value else f"--no-{argument}"
        else:
            yield f"--{argument}={value}"


def _given(settings: Vllm) -> Mapping[str, str | int | float | bool]:
    return {argument.replace("_", "-"): value for argument, value in settings.arguments.items()}


def _compiles(settings: Vllm) -> bool:
    """Whether the model is compiled. That takes minutes, and a CPU gains little by it: there it must be asked for."""
    given = _given(settings)
    return settings.gpus > 0 or given.get("enforce-eager") is False or given.get("no-enforce-eager") is True


def most_calls(settings: Vllm) -> int:
    """Calls that a replica takes at once: what its engine works on, and as many again that wait in it."""
    return 2 * settings.sequences


def most_sequences(settings: Vllm) -> int:
    """What may wait or run in the engine at once; a request for several answers is several."""
    return most_calls(settings) + MOST_INPUTS
