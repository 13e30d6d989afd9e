"""How much there is of CPUs, memory and GPUs, and of what."""

from __future__ import annotations

from dataclasses import dataclass

from policies.fit.instances import Gpu, Instance
from policies.fit.packing import TOLERANCE


@dataclass(frozen=True)
class Size:
    """CPUs, MiB and GPUs, of whatever asks for them or has them."""

    cpus: float = 0
    memory_mib: float = 0
    gpus: float = 0

    def holds(self, other: Size) -> bool:
        return (
            other.cpus <= self.cpus + TOLERANCE
            and other.memory_mib <= self.memory_mib + TOLERANCE
            and other.gpus <= self.gpus + TOLERANCE
        )

    def __add__(self, other: Size) -> Size:
        return Size(self.cpus + other.cpus, self.memory_mib + other.memory_mib, self.gpus + other.gpus)

    def __sub__(self, other: Size) -> Size:
        return Size(self.cpus - other.cpus, self.memory_mib - other.memory_mib, self.gpus - other.gpus)


@dataclass(frozen=True)
class Hosts:
    """Machines that rooms lie on. ``setting``: of the stack, whose ``instance_type`` and ``most`` they are.

    ``instance``: None where its type is in no table. ``free``: on each of them, for tasks and pods.
    """

    name: str
    setting: str
    type_name: str
    instance: Instance | None
    most: int
    urn: str
    free: Size = Size()


@dataclass(frozen=True)
class Room:
    """What Ray takes for a node: a task, or a pod of one group.

    ``cpus``: that Ray counts in it. ``asks``: what a scheduler must find free on one of the ``hosts``. ``head``:
    whether Ray's head is in it. ``serves``: whether replicas are placed in it. ``most``: how many there may be.
    """

    name: str
    path: str
    cpus: float
    memory_mib: float
    gpus: int = 0
    least: int = 1
    most: int = 1
    head: bool = True
    serves: bool = True
    asks: Size = Size()
    hosts: Hosts | None = None

    @property
    def gpu(self) -> Gpu | None:
        return self.hosts.instance.gpu if self.hosts and self.hosts.instance else None
