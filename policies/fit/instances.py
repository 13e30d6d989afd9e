"""What EC2's instance types have.

CPUs, memory and GPUs are those that EC2's DescribeInstanceTypes gives, which
https://docs.aws.amazon.com/ec2/latest/instancetypes/ shows. botocore knows the names alone.
Compute capabilities: https://developer.nvidia.com/cuda-gpus
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

GIB = 1024


@dataclass(frozen=True)
class Gpu:
    """``capability``: the compute capability that code for it is built for."""

    model: str
    memory_mib: int
    capability: str


@dataclass(frozen=True)
class Instance:
    """``gpu``: each of its ``gpus``."""

    name: str
    cpus: int
    memory_mib: int
    gpus: int = 0
    gpu: Gpu | None = None

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        gpus = f", {self.gpus} × {self.gpu.model} of {self.gpu.memory_mib} MiB" if self.gpu else ""
        return f"{self.name} ({self.cpus} vCPUs, {self.memory_mib} MiB{gpus})"


T4 = Gpu("T4", 16_384, "7.5")
A10G = Gpu("A10G", 22_888, "8.6")
L4 = Gpu("L4", 22_888, "8.9")
L40S = Gpu("L40S", 45_776, "8.9")
A100 = Gpu("A100", 40_960, "8.0")
A100_80 = Gpu("A100", 81_920, "8.0")
H100 = Gpu("H100", 81_920, "9.0")
H200 = Gpu("H200", 144_384, "9.0")
B200 = Gpu("B200", 183_359, "10.0")

SIZES: Mapping[str, int] = {
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
    "48xlarge": 192,
}
"""Size → vCPUs. The families below keep to it, and to one share of memory."""

OLDER = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge")

CPU_FAMILIES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    **{family: (4, tuple(SIZES)) for family in ("m7i", "m7a")},
    **{family: (2, tuple(SIZES)) for family in ("c7i", "c7a")},
    **{family: (8, tuple(SIZES)) for family in ("r7i", "r7a")},
    **dict.fromkeys(("m5", "m6i", "m6a"), (4, OLDER)),
    **dict.fromkeys(("c6i", "c6a"), (2, OLDER)),
    **dict.fromkeys(("r5", "r6i", "r6a"), (8, OLDER)),
    "m7i-flex": (4, ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")),
    "c7i-flex": (2, ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")),
}
"""Family → GiB for each vCPU, and its sizes."""

ONE_GPU = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge")
MORE_GPUS: Mapping[str, int] = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}

GPU_FAMILIES: Mapping[str, tuple[Gpu, int, Mapping[str, int]]] = {
    "g4dn": (T4, 4, {**dict.fromkeys(ONE_GPU, 1), "12xlarge": 4}),
    "g5": (A10G, 4, {**dict.fromkeys(ONE_GPU, 1), **MORE_GPUS}),
    "g6": (L4, 4, {**dict.fromkeys(ONE_GPU, 1), **MORE_GPUS}),
    "g6e": (L40S, 8, {**dict.fromkeys(ONE_GPU, 1), **MORE_GPUS}),
}
"""Family → its GPU, GiB for each vCPU, size → GPUs."""

OTHERS = (
    Instance("t3.medium", 2, 4 * GIB),
    Instance("t3.large", 2, 8 * GIB),
    Instance("t3.xlarge", 4, 16 * GIB),
    Instance("t3.2xlarge", 8, 32 * GIB),
    Instance("p4d.24xlarge", 96, 1152 * GIB, 8, A100),
    Instance("p4de.24xlarge", 96, 1152 * GIB, 8, A100_80),
    Instance("p5.4xlarge", 16, 256 * GIB, 1, H100),
    Instance("p5.48xlarge", 192, 2048 * GIB, 8, H100),
    Instance("p5e.48xlarge", 192, 2048 * GIB, 8, H200),
    Instance("p5en.48xlarge", 192, 2048 * GIB, 8, H200),
    Instance("p6-b200.48xlarge", 192, 2048 * GIB, 8, B200),
)


def _all() -> Iterator[Instance]:
    for family, (gib, sizes) in CPU_FAMILIES.items():
        for size in sizes:
            yield Instance(f"{family}.{size}", SIZES[size], SIZES[size] * gib * GIB)
    for family, (gpu, gib, counts) in GPU_FAMILIES.items():
        for size, gpus in counts.items():
            yield Instance(f"{family}.{size}", SIZES[size], SIZES[size] * gib * GIB, gpus, gpu)
    yield from OTHERS


INSTANCES: Mapping[str, Instance] = {each.name: each for each in _all()}
"""By name. To add one: its line above."""


def _cost(each: Instance) -> tuple[int, int, int, int]:
    """Instances in about the order of their prices: by the memory of their GPUs first, then by their CPUs."""
    return (each.gpus * each.gpu.memory_mib if each.gpu else 0, each.gpus, each.cpus, each.memory_mib)


def in_order(instances: Iterable[Instance]) -> list[Instance]:
    """The smallest first."""
    return sorted(instances, key=_cost)


def smallest(fits: Callable[[Instance], bool], like: Instance | None = None) -> Instance | None:
    """The smallest that fits: of the family of ``like`` where one of those does, else of all."""
    found = in_order(each for each in INSTANCES.values() if fits(each))
    same = [each for each in found if like is not None and each.family == like.family]
    return next(iter(same or found), None)
