"""What the sections of a stack's settings have in common: how they are read, and the kinds of their values."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

from policies.reading.fargate import CPUS, MEMORY, memory_of


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FargateSize(Section):
    cpu: int = 1024
    memory: int = 2048

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if self.cpu not in MEMORY:
            raise ValueError(f"cpu is {self.cpu}, expected one of {CPUS}")
        if self.memory not in MEMORY[self.cpu]:
            raise ValueError(f"memory is {self.memory} with cpu {self.cpu}, expected {memory_of(self.cpu)}")
        return self


def _is_network(text: str) -> str:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.20.0.0/16: {error}") from error
    if network.prefixlen > 20 or not network.is_private:
        raise ValueError("expected a private network of /20 or larger")
    return text


Cidr = Annotated[str, AfterValidator(_is_network)]
Arn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]


def _names_a_version(tag: str) -> str:
    if tag == "latest":
        raise ValueError("expected a tag that names one version: tags of the repository can't be moved")
    return tag


Tag = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"), AfterValidator(_names_a_version)
]
"""Of an image."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
InstanceType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9]+$")]
