"""``python -m infra fit``: what a language model needs of a GPU, and which instances have it."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from console import Arguments, UserError, run, say
from policies.fit.instances import INSTANCES, Instance
from policies.fit.llm import BITS, GIB, LOADING_BYTES, USED_SHARE, Load, UnknownModel, fitting, parameters, read_config

FITS_NOT = 1
"""Exit code where the model doesn't fit the instance, or none."""

SEQUENCES = 16
CONTEXT = 8192


class FitError(UserError):
    """What was asked for can't be reckoned."""


def main(argv: Sequence[str]) -> int:
    """Exit code 0: it fits, 1: it does not, 2: a mistake of the user's."""
    return run(lambda: _told(_asked(argv)))


def _asked(argv: Sequence[str]) -> Namespace:
    parser = Arguments(prog="python -m infra fit", description=__doc__)
    parser.add_argument("--model-config", type=Path, required=True, metavar="FILE", help="the model's config.json")
    parser.add_argument("--dtype", choices=[*BITS], help="of the weights (what the file says)")
    parser.add_argument("--context", type=_positive, default=CONTEXT, help=f"tokens of a sequence ({CONTEXT})")
    parser.add_argument("--sequences", type=_positive, default=SEQUENCES, help=f"that run at once ({SEQUENCES})")
    parser.add_argument("--instance", metavar="TYPE", help="an instance type, held alone")
    return parser.parse_args(list(argv))


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


def _load(asked: Namespace) -> Load:
    file: Path = asked.model_config
    try:
        config = read_config(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FitError(f"{file}: cannot be read: {error}") from error
    except UnknownModel as error:
        raise FitError(f"{file}: {error}") from error
    most = config.max_position_embeddings
    if most is not None and asked.context > most:
        raise FitError(f"--context is {asked.context}, expected at most the model's {most}")
    return Load(config, asked.dtype or config.stored, asked.context, asked.sequences)


def _told(asked: Namespace) -> int:
    load = _load(asked)
    instance = _instance(asked.instance) if asked.instance is not None else None
    say(f"model      {load.config.model_type}, {parameters(load.config) / 1e9:.2f} billion parameters, {load.dtype}")
    say(f"weights    {_gib(load.weight_bytes)}")
    kib = f"{load.token_bytes / 1024:g} KiB"
    say(f"KV cache   {_gib(load.cache_bytes)}  {asked.sequences} × {asked.context} tokens of {kib}")
    say(f"overhead   {_gib(load.overhead_bytes)}  CUDA, its graphs, a step's activations (estimated)")
    say(f"one GPU    {_gib(load.least_gpu_bytes)}  of which the engine uses {USED_SHARE:.0%}")
    if instance is not None:
        return _held(load, instance)
    found = list(fitting(load))
    if not found:
        say("fits       no instance type of the table: fewer sequences, less context, or a smaller dtype")
        return FITS_NOT
    families: dict[str, tuple[Instance, Load]] = {}
    for one, divided in found:
        families.setdefault(one.family, (one, divided))
    for number, (one, divided) in enumerate(families.values()):
        say(f"{'fits' if number == 0 else '':<10} {_shown(one, divided)}")
    say(f"{'':<10} {len(found)} types in all; shown is the smallest of each family")
    _settings(*found[0])
    return 0


def _instance(name: str) -> Instance:
    """One with GPUs. Raises: FitError."""
    found = INSTANCES.get(name)
    if found is None or found.gpu is None:
        families = sorted({each.family for each in INSTANCES.values() if each.gpus})
        raise FitError(f"--instance is {name}, expected a type of {', '.join(families)}")
    return found


def _held(load: Load, instance: Instance) -> int:
    found = next((each for one, each in fitting(load) if one == instance), None)
    if found is not None:
        say(f"fits       {_shown(instance, found)}")
        _settings(instance, found)
        return 0
    smallest = next(fitting(load), None)
    gpu = instance.gpu
    has = f"{instance.gpus} × {gpu.model} of {gpu.memory_mib / 1024:.1f} GiB, {gpu.capability}" if gpu else "no GPU"
    change = f"smallest change: {smallest[0].name}" if smallest else "nor does any other type of the table"
    say(f"fits not   {instance.name} has {has}; {change}")
    return FITS_NOT


def _shown(instance: Instance, load: Load) -> str:
    gpu = instance.gpu
    if gpu is None:
        return instance.name
    each = f"{load.least_gpu_bytes / GIB:.2f} of {gpu.memory_mib / 1024:.1f} GiB"
    return f"{instance.name:<17} {load.parallel} of {instance.gpus} × {gpu.model:<4}  {each} each"


def _settings(instance: Instance, load: Load) -> None:
    capability = instance.gpu.capability if instance.gpu else ""
    gpu_memory = math.ceil(load.least_gpu_bytes * load.parallel / GIB * 10) / 10
    say(f"smallest   {instance.name}, compute capability {capability}")
    needs = f"{{memory_gib: {LOADING_BYTES / GIB:g}, gpu_memory_gib: {gpu_memory}}}"
    say(f"settings   gpus: {load.parallel}, needs: {needs}")


def _gib(size: float) -> str:
    return f"{size / GIB:6.2f} GiB"
