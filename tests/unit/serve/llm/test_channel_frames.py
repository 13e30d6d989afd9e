"""What goes over a channel, and how many calls are worked on at once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.backend import Operation, Tokens
from serve.llm.deployed.channel.frames import (
    HEAD,
    Frame,
    Kind,
    Reader,
    call_frame,
    called,
    message_frame,
    message_of,
    read_frame,
    size_read,
)
from serve.llm.deployed.messages import Chunks, Full, Message, Progress, Refused, Whole
from serve.llm.deployed.room import Room

NUMBERS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 2**53)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Chunks, st.binary(), st.builds(Tokens, COUNTS, COUNTS, COUNTS), st.text()),
    st.builds(Progress, st.builds(Tokens, COUNTS, COUNTS, COUNTS)),
    st.builds(Whole, st.binary(), st.text()),
    st.builds(Refused, st.integers(400, 599), st.none() | st.text(), st.text(), st.none() | st.text()),
    st.builds(Full, COUNTS),
)


class TestFrames:
    @given(st.lists(st.builds(Frame, NUMBERS, st.sampled_from(Kind), st.binary())), st.lists(st.integers(1, 40)))
    def test_come_out_whole_and_in_order_from_any_pieces(self, frames: list[Frame], sizes: list[int]) -> None:
        sent = b"".join(frame.encode() for frame in frames)
        reader, found, at = Reader(), [], 0
        for size in sizes:
            found += reader.feed(sent[at : at + size])
            at += size
        assert found + reader.feed(sent[at:]) == frames

    @given(NUMBERS, MESSAGES)
    def test_a_message_is_what_it_was(self, number: int, message: Message) -> None:
        frame = message_frame(number, message)
        assert frame.call == number
        assert message_of(frame) == message

    @given(st.sampled_from(["chat", "completions", "embeddings"]), st.binary())
    def test_a_call_is_what_it_was(self, operation: Operation, body: bytes) -> None:
        assert called(call_frame(1, operation, body)) == (operation, body)

    @given(st.integers(1, 2**40))
    def test_what_was_read_is_what_it_was(self, size: int) -> None:
        assert size_read(read_frame(1, size)) == size

    @pytest.mark.parametrize("kind", [0, 11, 255])
    def test_what_is_no_frame_is_said(self, kind: int) -> None:
        with pytest.raises(ValueError, match="is not a valid Kind"):
            Reader().feed(HEAD.pack(1, kind, 0))

    def test_what_is_no_message_is_said(self) -> None:
        with pytest.raises(ValueError, match="is no message"):
            message_of(call_frame(1, "chat", b"{}"))


class TestRoom:
    def test_lets_in_so_many_and_others_in_their_order(self) -> None:
        async def work() -> None:
            room, entered, leave = Room(2), [], asyncio.Semaphore(0)

            async def call(number: int) -> None:
                async with room:
                    entered.append(number)
                    await leave.acquire()

            tasks = [asyncio.create_task(call(number)) for number in range(4)]
            await asyncio.sleep(0)
            assert entered == [0, 1]
            assert (room.waiting, room.full) == (2, True)
            tasks[2].cancel()
            await asyncio.sleep(0)
            assert (room.waiting, room.full) == (1, False)
            for _ in range(3):
                leave.release()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert entered == [0, 1, 3]
            assert room.waiting == 0

        asyncio.run(work())
