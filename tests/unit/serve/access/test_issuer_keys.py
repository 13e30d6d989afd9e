"""How often the issuer is asked for its keys, and what happens where it does not give them."""

from __future__ import annotations

import asyncio
import time

import jwt
import pytest

from serve.access import tokens
from serve.access.tokens import TokenVerifier
from serve.gateway.errors import Unauthenticated, Unavailable
from tests.unit.serve.access.clock import Clock
from tests.unit.serve.access.issuer import EC, Issuer


def test_tokens_of_unknown_keys_make_the_server_ask_once_in_thirty_seconds(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    async def attack() -> None:
        for number in range(20):
            with pytest.raises(Unauthenticated, match="does not publish"):
                await verifier.verify(issuer.token(kid=f"made-up-{number}"))

    asyncio.run(verifier.verify(issuer.token()))
    asyncio.run(attack())
    assert issuer.fetches == 1
    clock.ahead = tokens.REFRESH_SECONDS + 1
    asyncio.run(attack())
    assert issuer.fetches == 2


def test_a_new_key_of_the_issuer_is_taken_up_without_a_restart(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    asyncio.run(verifier.verify(issuer.token()))
    issuer.keys = {"two": EC}
    clock.ahead = tokens.REFRESH_SECONDS + 1
    assert asyncio.run(verifier.verify(issuer.signed(EC, "ES256", {"kid": "two"}))).name == "batch-job"
    with pytest.raises(Unauthenticated, match="does not publish"):
        asyncio.run(verifier.verify(issuer.token(kid="one")))


def test_many_requests_at_once_wait_for_one_fetch_and_the_loop_goes_on_meanwhile(
    issuer: Issuer, problems: list[str]
) -> None:
    issuer.answers.clear()
    verifier = TokenVerifier(issuer.settings(timeout_seconds=60), problems.append, time.time)

    async def all_at_once() -> int:
        requests = [asyncio.create_task(verifier.verify(issuer.token(sub=str(number)))) for number in range(10)]
        cancelled = requests.pop(0)
        turns = 0
        while not all(request.done() for request in requests):
            await asyncio.sleep(0.01)
            turns += 1
            cancelled.cancel()
            if turns > 10:
                issuer.answers.set()
        assert all(request.result() for request in requests)
        return turns

    assert asyncio.run(all_at_once()) > 10
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (302, None), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'), (200, b"\xff")],
)
def test_where_the_issuer_s_keys_can_t_be_had_the_answer_is_503_and_the_operator_is_told_once(
    issuer: Issuer, verifier: TokenVerifier, problems: list[str], clock: Clock, status: int, body: bytes | None
) -> None:
    issuer.status, issuer.body = status, body
    for _ in range(3):
        with pytest.raises(Unavailable, match="can't be fetched") as caught:
            asyncio.run(verifier.verify(issuer.token()))
        assert caught.value.status == 503
    assert issuer.fetches == 1
    assert len(problems) == 1
    assert issuer.url in problems[0]
    issuer.status, issuer.body = 200, None
    clock.ahead = tokens.RETRY_SECONDS + 1
    assert asyncio.run(verifier.verify(issuer.token())).name == "batch-job"


def test_an_issuer_that_does_not_answer_is_waited_for_as_long_as_the_settings_say(
    issuer: Issuer, problems: list[str]
) -> None:
    issuer.answers.clear()

    async def timed() -> float:
        verifier = TokenVerifier(issuer.settings(timeout_seconds=0.1), problems.append, time.time)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await verifier.verify(issuer.token())
        return time.monotonic() - started

    # The first or second may have been held up by something else.
    assert any(asyncio.run(timed()) < 2 for _ in range(3))


def test_while_the_issuer_is_down_known_keys_go_on_for_an_hour(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock, problems: list[str]
) -> None:
    asyncio.run(verifier.verify(issuer.token()))
    issuer.status = 500

    async def verify_and_let_the_fetch_end() -> None:
        await verifier.verify(issuer.token())
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    clock.ahead = tokens.FRESH_SECONDS + 1
    asyncio.run(verify_and_let_the_fetch_end())
    assert issuer.fetches == 2
    assert len(problems) == 1
    clock.ahead = tokens.STALE_SECONDS + 1
    with pytest.raises(Unavailable):
        asyncio.run(verifier.verify(issuer.token()))


def test_a_key_for_encryption_is_not_one_for_signatures(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.body = issuer.document().replace(b'"use": "sig"', b'"use": "enc"')
    assert jwt.PyJWKSet.from_json(issuer.body.decode()).keys
    with pytest.raises(Unavailable):
        asyncio.run(verifier.verify(issuer.token()))
