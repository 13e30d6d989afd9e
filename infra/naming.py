"""Names and tags, from the project and the stack alone."""

from __future__ import annotations

from dataclasses import dataclass

MOST_CHARACTERS = 32
"""Of a load balancer's or a target group's name, the shortest limit that a name of ours meets."""


class NameTooLong(Exception):
    """A part makes a name longer than AWS takes: a mistake in a component, not of a user."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name!r} has {len(self.name)} characters, expected at most {MOST_CHARACTERS}"


@dataclass(frozen=True)
class Naming:
    """``project`` and ``stack`` as Pulumi has them."""

    project: str
    stack: str

    @property
    def prefix(self) -> str:
        """The project's initials and the stack, so that names of 32 characters can hold a part."""
        return f"{''.join(word[0] for word in self.project.split('-'))}-{self.stack}"

    def name(self, *parts: str) -> str:
        """``mtd-dev-part``.

        Raises:
            NameTooLong: longer than 32 characters.
        """
        name = "-".join([self.prefix, *parts])
        if len(name) > MOST_CHARACTERS:
            raise NameTooLong(name)
        return name

    def path(self, *parts: str) -> str:
        """``/ml-training-deployment/dev/part``: of a log group, a parameter or a secret."""
        return "/" + "/".join([self.project, self.stack, *parts])

    def tags(self, owner: str) -> dict[str, str]:
        return {"project": self.project, "stack": self.stack, "owner": owner, "managed-by": "pulumi"}
