"""What may be in a file of conversations, and what is said of the rest."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from training.errors import ConversationsRefused
from training.finetune import conversations
from training.finetune.conversations import SHOWN_LINES, read, split

ASKED = {"role": "user", "content": "w1"}
ANSWERED = {"role": "assistant", "content": "w2"}
GOOD = {"messages": [ASKED, ANSWERED]}


def written(folder: Path, *lines: object) -> Path:
    file = folder / "chat.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def asking(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"w{number}"}, ANSWERED]}


def test_every_line_is_read_with_its_number_and_empty_ones_are_none(tmp_path: Path) -> None:
    lines = read(written(tmp_path, GOOD, "", GOOD), pytest.fail).lines
    assert [line.number for line in lines] == [1, 3]
    assert [message.content for message in lines[0].conversation.messages] == ["w1", "w2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ({"messages": []}, "messages: "),
        ({"prompt": "w1", "completion": "w2"}, "messages: Field required"),
        ({**GOOD, "tools": []}, "tools: Extra inputs are not permitted"),
        ({"messages": [ASKED, ASKED]}, "the last message is not an assistant's"),
        ({"messages": [ASKED, {**ANSWERED, "weight": 0}]}, "no assistant's message is to be learned"),
        ({"messages": [{**ASKED, "weight": 1}, ANSWERED]}, "messages.0: Value error, weight is of an assistant's"),
        ({"messages": [{**ASKED, "role": "tool"}, ANSWERED]}, "messages.0.role: "),
        ({"messages": [ASKED, {**ANSWERED, "content": ""}]}, "messages.1.content: "),
        ({"messages": [ASKED, {**ANSWERED, "content": None}]}, "messages.1.content: "),
        ({"messages": [ASKED, {**ANSWERED, "content": [{"type": "text"}]}]}, "messages.1.content: "),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_reason(tmp_path: Path, line: object, reason: str) -> None:
    said: list[str] = []
    with pytest.raises(ConversationsRefused) as caught:
        read(written(tmp_path, GOOD, line, GOOD), said.append)
    assert said[0].startswith("line 2: ")
    assert reason in said[0]
    assert "1 of 3 lines can't be used, the first: line 2: " in str(caught.value)


def test_bytes_that_are_no_text_are_a_line_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_bytes(b'{"messages": "\xff"}\n')
    with pytest.raises(ConversationsRefused, match="line 1: "):
        read(file, lambda said: None)


def test_a_line_without_an_end_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_LINE_BYTES", 100)
    file = written(tmp_path, GOOD, "x" * 1000, GOOD)
    with pytest.raises(ConversationsRefused, match=r"line 2: has more than 100 bytes; nothing after it is read"):
        read(file, lambda said: None)
    with pytest.raises(ConversationsRefused, match=r"line 1: has more than 100 bytes"):
        read(Path("/dev/zero"), lambda said: None)


def test_the_mark_that_windows_programs_begin_a_file_with_is_passed_over(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert len(read(file, pytest.fail).lines) == 1


def test_the_digest_is_of_what_was_read_also_where_it_can_be_read_but_once(tmp_path: Path) -> None:
    content = written(tmp_path, GOOD, "", GOOD).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(content,))
    writing.start()
    assert read(pipe, pytest.fail).sha256 == hashlib.sha256(content).hexdigest()
    writing.join()


def test_a_weight_of_one_says_nothing(tmp_path: Path) -> None:
    weighed = {"messages": [ASKED, {**ANSWERED, "weight": 1}]}
    unlearned = {"messages": [ASKED, {**ANSWERED, "weight": 0}, ASKED, ANSWERED]}
    learned = {"messages": [ASKED, ANSWERED, ASKED, ANSWERED]}
    digests = [
        line.conversation.digest
        for line in read(written(tmp_path, GOOD, weighed, unlearned, learned), pytest.fail).lines
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_of_many_lines_that_cannot_be_used_the_first_are_shown_and_all_counted(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ConversationsRefused, match="30 of 30 lines can't be used"):
        read(written(tmp_path, *["no"] * 30), said.append)
    assert len(said) == SHOWN_LINES + 1
    assert said[-1] == "and 10 more"


@pytest.mark.parametrize("content", [None, "", "\n\n"], ids=["no file", "an empty one", "empty lines"])
def test_a_file_without_any_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "chat.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConversationsRefused, match=r"chat\.jsonl"):
        read(file, pytest.fail)


class TestSplit:
    def test_every_one_is_on_one_side_and_the_share_is_held_out(self, tmp_path: Path) -> None:
        lines = read(written(tmp_path, *(asking(number) for number in range(50))), pytest.fail).lines
        train, held_out = split(lines, 0.2)
        assert len(held_out) == 10
        assert sorted(line.number for line in train + held_out) == list(range(1, 51))

    def test_the_order_of_the_lines_does_not_matter(self, tmp_path: Path) -> None:
        def held_out(numbers: range) -> set[str]:
            lines = read(written(tmp_path, *(asking(number) for number in numbers)), pytest.fail).lines
            return {line.conversation.messages[0].content for line in split(lines, 0.3)[1]}

        assert held_out(range(20)) == held_out(range(19, -1, -1))

    def test_equal_ones_are_on_one_side(self, tmp_path: Path) -> None:
        lines = read(written(tmp_path, *(asking(number % 4) for number in range(20))), pytest.fail).lines
        train, held_out = split(lines, 0.25)
        assert len(held_out) == 5
        assert not {line.conversation.digest for line in train} & {line.conversation.digest for line in held_out}

    def test_too_few_are_refused(self, tmp_path: Path) -> None:
        lines = read(written(tmp_path, GOOD, GOOD), pytest.fail).lines
        with pytest.raises(ConversationsRefused, match=r"1 different conversation\(s\) can't be split"):
            split(lines, 0.5)
