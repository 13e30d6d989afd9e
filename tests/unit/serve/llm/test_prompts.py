"""A prompt in a chat request: what may be asked for, what it becomes, and how rarely the registry is asked."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.errors import NotFound, Overloaded, ParameterRejected, ServeError, Unavailable
from serve.llm.prompts import lookup
from serve.llm.prompts.filling import filled
from serve.llm.prompts.lookup import PromptNotFound, Prompts
from serve.llm.prompts.template import MOST_CHARACTERS, Template
from serve.llm.settings import PromptSettings
from training.prompts import Address, Message, PromptUnusable, PromptVersion
from training.prompts import Template as Text
from training.registry import RegistryUnreachable, VersionNotFound


def version(template: Text, number: int = 1) -> PromptVersion:
    return PromptVersion("greeting", str(number), template, "", datetime.now(UTC))


CHAT = (Message(role="system", content="You greet {{ name }} of {{user.city}}."), Message(role="user", content="{{q}}"))
VALUES = {"name": "Ann", "user.city": "Rome", "q": "Hi"}


def test_a_chat_s_messages_keep_their_roles_and_a_text_is_one_of_the_system() -> None:
    assert Template.of(version(CHAT)).fill(VALUES) == [
        {"role": "system", "content": "You greet Ann of Rome."},
        {"role": "user", "content": "Hi"},
    ]
    assert Template.of(version("Hello")).fill({}) == [{"role": "system", "content": "Hello"}]


TEXTS = st.text() | st.sampled_from(
    ["{{other}}", "{{name}}", "{name}", "%(name)s", "\\1\\g<0>", "{{ 7 * 7 }}", "{% if %}"]
)


@given(st.lists(TEXTS), TEXTS, TEXTS)
def test_a_value_is_put_in_as_it_is_whatever_it_says(between: list[str], name: str, other: str) -> None:
    # Braces of the text itself could make variables with what stands beside them.
    pieces = [piece.replace("{", "").replace("}", "") for piece in between]
    template = "{{name}}" + "{{other}}".join(["|", *pieces, "|"])
    expected = name + other.join(["|", *pieces, "|"])
    values = {"name": name, **({"other": other} if "{{other}}" in template else {})}
    assert Template.of(version(template)).fill(values) == [{"role": "system", "content": expected}]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"name": None}, "variables.name", "invalid_type"),
        ({"name": 3}, "variables.name", "invalid_type"),
        ({"name": {"a": "b"}}, "variables.name", "invalid_type"),
        ({"colour": "red"}, "variables", "unknown_parameter"),
        ({"x" * 10_000: "red"}, "variables", "unknown_parameter"),
        ({"name": "x" * MOST_CHARACTERS}, "variables", "string_above_max_length"),
    ],
)
def test_variables_that_are_not_those_of_the_prompt_are_refused(change: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ParameterRejected) as found:
        Template.of(version(CHAT)).fill({**VALUES, **change})
    assert (found.value.param, found.value.openai_code) == (param, code)
    assert len(str(found.value)) < 300


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ParameterRejected, match=r"variables.q: prompt greeting/1 needs it"):
        Template.of(version(CHAT)).fill({"name": "Ann", "user.city": "Rome"})


def test_what_repeats_a_long_value_is_refused_before_it_is_made() -> None:
    template = Template.of(version("{{x}}" * 20_000))
    with pytest.raises(ParameterRejected, match="would have 20000000000 characters"):
        template.fill({"x": "x" * 1_000_000})


@dataclass
class Registry:
    """One prompt, whose alias may be moved and which may be away; it counts what it was asked."""

    champion: int = 1
    error: Exception | None = None
    now: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    hold: threading.Event | None = None
    problems: list[str] = field(default_factory=list)

    def find(self, address: Address) -> PromptVersion:
        self.asked[str(address)] += 1
        error = self.error
        if self.hold is not None:
            assert self.hold.wait(10)
        if error is not None:
            raise error
        if address.name != "greeting" or address.which not in ("champion", "1", "2"):
            raise VersionNotFound(f"no prompt {address}")
        number = int(address.which) if address.pinned else self.champion
        return version(f"Version {number}", number)

    def use(self, ask: Callable[[Prompts], Awaitable[None]], **settings: Any) -> None:
        async def used() -> None:
            prompts = Prompts(
                self.find,
                PromptSettings.model_validate({"alias_seconds": 5, **settings}),
                clock=lambda: self.now,
                on_problem=self.problems.append,
            )
            try:
                await ask(prompts)
            finally:
                prompts.close()

        asyncio.run(used())


async def named(prompts: Prompts, text: str = "greeting@champion") -> str | type[ServeError]:
    address = Address.parse(text)
    assert address is not None
    try:
        return (await prompts.template(address)).version
    except ServeError as error:
        return type(error)


def test_an_alias_is_believed_for_the_seconds_of_the_setting_and_then_asked_for_again() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) == "1"
        registry.champion = 2
        registry.now = 4.9
        assert await named(prompts) == "1"
        registry.now = 5.0
        assert await named(prompts) == "2"

    registry.use(ask)
    assert registry.asked == {"greeting@champion": 2}


def test_a_version_is_asked_for_once_and_not_at_all_where_an_alias_brought_it() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        await named(prompts)
        for now in (0.0, 1e9):
            registry.now = now
            assert await named(prompts, "greeting/1") == "1"
            assert await named(prompts, "greeting/2") == "2"

    registry.use(ask)
    assert registry.asked == {"greeting@champion": 1, "greeting/2": 1}


def test_while_the_registry_is_down_what_was_known_is_used_and_it_is_said_once() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) == "1"
        registry.champion = 2
        for error in (RegistryUnreachable("down"), ValueError("half an answer")):
            registry.error = error
            for _ in range(3):
                registry.now += 5
                # And asked no more often than when it is up.
                assert [await named(prompts) for _ in range(4)] == ["1"] * 4
        assert await named(prompts, "greeting/2") is Unavailable
        registry.error = None
        registry.now += 5
        assert await named(prompts) == "2"
        assert await named(prompts, "greeting/2") == "2"

    registry.use(ask)
    assert registry.asked["greeting@champion"] == 8
    assert [problem.split(",")[0] for problem in registry.problems] == [
        "prompts can't be looked up",
        "prompts can be looked up again",
    ]


def test_a_registry_that_hangs_holds_up_nobody_who_knows_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "KNOWN_SECONDS", 0.01)
    monkeypatch.setattr(lookup, "UNKNOWN_SECONDS", 0.02)
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) == "1"
        registry.hold, registry.now = threading.Event(), 5.0
        assert [await named(prompts) for _ in range(3)] == ["1"] * 3
        assert await named(prompts, "greeting/2") is Unavailable
        assert registry.asked["greeting@champion"] == 2
        registry.hold.set()

    registry.use(ask)


def test_those_who_ask_at_once_share_one_lookup_and_one_who_goes_does_not_end_it() -> None:
    registry = Registry(hold=threading.Event())

    async def ask(prompts: Prompts) -> None:
        tasks = [asyncio.create_task(named(prompts)) for _ in range(5)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        assert registry.hold is not None
        registry.hold.set()
        assert await asyncio.gather(*tasks[1:]) == ["1"] * 4

    registry.use(ask)
    assert registry.asked == {"greeting@champion": 1}


def test_what_is_not_there_is_remembered_as_long_as_an_alias_is() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        for now in (0.0, 4.9, 5.0):
            registry.now = now
            assert await named(prompts, "greeting@challenger") is PromptNotFound
            assert await named(prompts, "nothing/7") is PromptNotFound
        assert issubclass(PromptNotFound, NotFound)

    registry.use(ask)
    assert registry.asked == {"greeting@challenger": 2, "nothing/7": 2}


def test_an_alias_that_was_taken_away_is_not_used_any_more() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) == "1"
        registry.error, registry.now = VersionNotFound("gone"), 5.0
        assert await named(prompts) is PromptNotFound
        registry.error, registry.now = PromptUnusable("of Jinja's"), 10.0
        assert await named(prompts) is ParameterRejected

    registry.use(ask)


def test_made_up_names_neither_pile_up_nor_drive_out_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MOST_KEPT", 8)
    monkeypatch.setattr(lookup, "MOST_LOOKUPS", 4)
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) == "1"
        for number in range(20):
            assert await named(prompts, f"made-up-{number}@champion") is PromptNotFound
        assert len(prompts._failed) == 8
        registry.hold = threading.Event()
        crowd = [asyncio.create_task(named(prompts, f"more-{number}@champion")) for number in range(4)]
        await asyncio.sleep(0.01)
        assert await named(prompts, "greeting/2") is Overloaded
        registry.now = 5.0
        assert await named(prompts) == "1"
        registry.hold.set()
        assert await asyncio.gather(*crowd) == [PromptNotFound] * 4

    registry.use(ask)
    assert registry.asked["greeting@champion"] == 1


def test_prompts_that_the_settings_do_not_name_are_never_asked_for() -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        assert await named(prompts) is PromptNotFound

    registry.use(ask, names=["public-*"])
    assert registry.asked == {}


def test_a_request_s_own_messages_come_after_the_prompt_s() -> None:
    body = {"model": "small", "prompt": "greeting/2", "variables": {}, "temperature": 0}

    async def ask(prompts: Prompts) -> None:
        said = {"role": "system", "content": "Version 2"}
        plain = {"model": "small", "temperature": 0}
        for own in ([], [{"role": "user", "content": "{{name}}"}]):
            found, template = await filled({**body, "messages": own}, prompts)
            assert found == {**plain, "messages": [said, *own]}
            assert template is not None
        assert await filled({**plain, "prompt": None, "variables": None}, prompts) == (plain, None)

    Registry().use(ask)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": "greeting"}, "prompt", "invalid_value"),
        ({"prompt": "greeting@"}, "prompt", "invalid_value"),
        ({"prompt": "greeting@1"}, "prompt", "invalid_value"),
        ({"prompt": "greeting/0"}, "prompt", "invalid_value"),
        ({"prompt": "a/b@champion"}, "prompt", "invalid_value"),
        ({"prompt": "é@champion"}, "prompt", "invalid_value"),
        ({"prompt": "x" * 100_000}, "prompt", "invalid_value"),
        ({"prompt": {"id": "greeting"}}, "prompt", "invalid_type"),
        ({"prompt": ["greeting/1"]}, "prompt", "invalid_type"),
        ({"prompt": "greeting/1", "variables": ["a"]}, "variables", "invalid_type"),
        ({"variables": {"a": "b"}}, "variables", "invalid_value"),
        ({"prompt": "greeting/1", "messages": "Hi"}, "messages", "invalid_type"),
    ],
)
def test_fields_that_are_not_of_their_shape_are_refused_before_the_registry_is_asked(
    fields: dict[str, Any], param: str, code: str
) -> None:
    registry = Registry()

    async def ask(prompts: Prompts) -> None:
        with pytest.raises(ParameterRejected) as found:
            await filled({"model": "small", "messages": [], **fields}, prompts)
        assert (found.value.param, found.value.openai_code) == (param, code)

    registry.use(ask)
    assert registry.asked == {}
