"""Features in a DynamoDB table: ``dynamodb:TABLE``.

The table has the partition key ``entity`` and the sort key ``view``, both strings, and its TTL attribute is
``expires_at``. Who publishes needs ``dynamodb:PutItem``, who reads ``dynamodb:BatchGetItem``; both need
``kms:Decrypt`` on the table's key.

``BatchWriteItem`` takes no condition, and an older value must not take a newer one's place: each item is
a conditional ``PutItem``, a batch of them at once, and what DynamoDB did not process is tried again together.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from console.aws import client, code_of, mapped
from spark_jobs.online import BadStoreAddress, Item, StoreUnusable, Written

TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")

CONNECTIONS = 16
KEYS_PER_READ = 100
ROUNDS = 8
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TRIES = 2
"""Of one call by boto3; the rounds come on top, so that all wait when the table is at its limit."""

UNPROCESSED = {
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
}

NAMES = {
    "#entity": "entity",
    "#time": "event_time",
    "#contract": "contract",
    "#features": "features",
    "#expires": "expires_at",
}
SAME_EXPIRY = "#expires = :expires"
NO_EXPIRY = "attribute_not_exists(#expires)"


class DynamoDbStore:
    """Keeps to :class:`spark_jobs.online.OnlineStore`."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._where = f"dynamodb:{table}"
        self._client = client("dynamodb", self._where, CONNECTIONS, TRIES)
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="dynamodb")

    @classmethod
    def at(cls, rest: str) -> DynamoDbStore:
        """The store of a URI, of what is behind ``dynamodb:``.

        Raises:
            BadStoreAddress: it is not the name of a table.
            AwsError: AWS's settings are not good for a client.
        """
        if not TABLE_NAME.fullmatch(rest):
            raise BadStoreAddress(f"online store 'dynamodb:{rest}': expected dynamodb:TABLE, a table's name")
        return cls(rest)

    def write(self, items: Sequence[Item]) -> Written:
        done, left = Written(), list(items)
        for round_ in range(ROUNDS):
            if round_:
                _pause(round_)
            outcomes = list(self._pool.map(self._put, left))
            done = sum((outcome for outcome in outcomes if outcome), done)
            left = [item for item, outcome in zip(left, outcomes, strict=True) if outcome is None]
            if not left:
                return done
        raise StoreUnusable(
            f"{self._where}: {len(left):,} of {len(items):,} items were not processed in {ROUNDS} rounds: "
            "the table is at its limit; publish again (what is there stays), or raise the limit"
        )

    def read(self, entities: Sequence[str], view: str) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for start in range(0, len(entities), KEYS_PER_READ):
            keys = [
                {"entity": {"S": entity}, "view": {"S": view}} for entity in entities[start : start + KEYS_PER_READ]
            ]
            for item in self._get(keys):
                found[item.entity] = item
        return found

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _put(self, item: Item) -> Written | None:
        """``None``: DynamoDB did not process it."""
        values: dict[str, Any] = {
            ":time": {"S": item.event_time},
            ":contract": {"S": item.contract},
            ":features": {"M": item.features},
        }
        if item.expires_at is not None:
            values[":expires"] = {"N": str(item.expires_at)}
        same_expiry = NO_EXPIRY if item.expires_at is None else SAME_EXPIRY
        with mapped(self._where, "write an item"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=_stored(item),
                    ConditionExpression="attribute_not_exists(#entity) OR #time < :time OR (#time = :time AND "
                    f"(#contract <> :contract OR #features <> :features OR NOT {same_expiry}))",
                    ExpressionAttributeNames=NAMES,
                    ExpressionAttributeValues=values,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                there = error.response.get("Item", {}).get("event_time", {}).get("S", "")
                return Written(older=1) if there > item.event_time else Written(unchanged=1)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in UNPROCESSED:
                    return None
                raise
        return Written(written=1)

    def _get(self, keys: list[dict[str, Any]]) -> list[Item]:
        found: list[Item] = []
        request = {self._table: {"Keys": keys}}
        for round_ in range(ROUNDS):
            if round_:
                _pause(round_)
            with mapped(self._where, "read items"):
                answer = self._client.batch_get_item(RequestItems=request)
            found += [self._item(stored) for stored in answer["Responses"].get(self._table, [])]
            request = answer.get("UnprocessedKeys") or {}
            if not request:
                return found
        raise StoreUnusable(
            f"{self._where}: {len(request[self._table]['Keys'])} keys were not processed in {ROUNDS} rounds: "
            "the table is at its limit; try again, or raise it"
        )

    def _item(self, stored: Mapping[str, Any]) -> Item:
        try:
            return Item(
                entity=stored["entity"]["S"],
                view=stored["view"]["S"],
                event_time=stored["event_time"]["S"],
                contract=stored["contract"]["S"],
                features=stored["features"]["M"],
                published_at=stored["published_at"]["S"],
                expires_at=int(stored["expires_at"]["N"]) if "expires_at" in stored else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreUnusable(
                f"{self._where}: what is stored for {stored.get('entity')} is not an item of "
                f"`python -m spark_jobs publish` ({type(error).__name__}: {error}): publish it again"
            ) from error


def _stored(item: Item) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "entity": {"S": item.entity},
        "view": {"S": item.view},
        "event_time": {"S": item.event_time},
        "contract": {"S": item.contract},
        "features": {"M": item.features},
        "published_at": {"S": item.published_at},
    }
    if item.expires_at is not None:
        stored["expires_at"] = {"N": str(item.expires_at)}
    return stored


def _pause(round_: int) -> None:
    longest = min(FIRST_PAUSE_SECONDS * 2**round_, LONGEST_PAUSE_SECONDS)
    # Several publishers that were refused at once must not come back at once.
    time.sleep(longest * random.uniform(0.5, 1))  # noqa: S311
