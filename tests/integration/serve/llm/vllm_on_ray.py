"""A Ray with Serve in it, and vLLM's deployments of the small model there."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import traceback
import types
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
from ray import serve as ray_serve
from safetensors.numpy import save_file

import serve
from console import ray_cluster
from demo.language_model import small_model
from serve import loopback
from serve.llm.deployed import follower
from serve.llm.deployed.backend import DeployedBackend
from serve.llm.deployed.deployment import bind, deployment_name
from serve.llm.deployed.follower import Followed
from serve.llm.deployed.generations import generations, states
from serve.llm.deployed.sources import Sources
from serve.llm.settings import Deployed, Vllm

ROOT = Path(serve.__file__).parents[1]

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs something on one event loop, to which the handles belong."""

PATIENCE_SECONDS = 300

ENVIRONMENT = {
    # Of the controller, which else waits for a load balancer that there isn't.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # No engine may need a compiler: few machines have one.
    "CC": "/no/compiler",
    "CXX": "/no/compiler",
}
"""Of all of Ray's processes."""

CALLED: list[DeployedBackend] = []


def model() -> Path:
    """Kept from one run to the next: to convert it takes half a minute."""
    return small_model(ROOT / "build" / "language-models")


def settings(**fields: Any) -> Vllm:
    small = {"dtype": "float32", "max_length": 2048, "sequences": 8, "cache_gib": 0.5}
    return Vllm.model_validate({"kind": "vllm", "model": str(model())} | small | fields)


def adapter(folder: Path) -> Path:
    """A LoRA adapter of random numbers, which makes the model say something else."""
    config = json.loads((model() / "config.json").read_text())
    size, rank = config["hidden_size"], 8
    random = np.random.default_rng(0)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        place = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{place}.lora_A.weight"] = random.normal(0, 0.3, (rank, size)).astype(np.float32)
        weights[f"{place}.lora_B.weight"] = random.normal(0, 0.3, (size, rank)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors")
    described = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


@contextmanager
def event_loop() -> Iterator[Run]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(_patiently(work), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _patiently(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it. Where that is late, the error says what it waits for, which a future's own does not."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not task.done():
        waits = "".join(traceback.format_list(list(_waits(work))))
        task.cancel()
        raise AssertionError(f"after {PATIENCE_SECONDS} s it waits there still:\n{waits}")
    try:
        return task.result()
    except TimeoutError as error:
        raise AssertionError("what it waited for did not come") from error


def _waits(work: Any) -> Iterator[traceback.FrameSummary]:
    while isinstance(work, types.CoroutineType) and work.cr_frame is not None:
        yield traceback.FrameSummary(work.cr_code.co_filename, work.cr_frame.f_lineno, work.cr_code.co_qualname)
        work = work.cr_await


@contextmanager
def serving(run: Run) -> Iterator[None]:
    loopback.bind_node()
    with patch.dict(os.environ, ENVIRONMENT):
        ray_cluster.connect("local", num_cpus=4, include_dashboard=False, object_store_memory=100 * 2**20)
    try:
        ray_serve.start(proxy_location="Disabled")
        yield
        while CALLED:
            run(CALLED.pop().close())
        run(_called(ray_serve.shutdown))
    finally:
        ray.shutdown()


def deploy(name: str, given: Deployed, application: str) -> DeployedBackend:
    ray_serve.run(bind(name, given, on_loopback=True), name=application, route_prefix=None)
    return called(DeployedBackend(name, deployment_name(given.kind, name), application=application))


def follow(name: str, given: Deployed, application: str, sources: Sources) -> DeployedBackend:
    """Deploy it with a follower of its model's alias."""
    followed = follower.bind((Followed(name, given, sources),), "once", on_loopback=True)
    ray_serve.run(followed, name=application, route_prefix=None)
    return called(DeployedBackend(name, deployment_name(given.kind, name), followed=True))


def called(backend: DeployedBackend) -> DeployedBackend:
    """``backend``, to be closed before the cluster that it calls is."""
    CALLED.append(backend)
    return backend


async def generations_of(name: str, deployment: str) -> list[int]:
    """The numbers of a followed backend's generations, in order."""
    found = generations(await asyncio.to_thread(states, deployment), name)
    return sorted(each.number for each in found)


async def _called(function: Callable[[], None]) -> None:
    function()
