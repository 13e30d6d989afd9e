"""What a role may do, by its policies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.fit.access import arn, grants, of, secret
from policies.node import UNKNOWN, Stack
from policies.rule import UnknownValueError
from policies.testing import resource

ROLE = resource("aws:iam/role:Role", {"assumeRolePolicy": json.dumps({"Statement": []})}, "role")
KEY = "arn:aws:kms:us-east-1:123456789012:key/one"
FILE = of("s3", "models/a/model.onnx")


def stack(*statements: dict[str, Any], managed: bool = False) -> Stack:
    policy = json.dumps({"Statement": list(statements)})
    if not managed:
        return Stack((ROLE, resource("aws:iam/rolePolicy:RolePolicy", {"policy": policy}, links={"role": [ROLE]})))
    own = resource("aws:iam/policy:Policy", {"policy": policy}, "own")
    attached = resource(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment", {}, links={"role": [ROLE], "policyArn": [own]}
    )
    return Stack((ROLE, own, attached))


def statement(action: Any, on: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": on, **more}


@pytest.mark.parametrize(
    "on", ["*", "arn:aws:s3:::models/*", "arn:aws:s3:::models/a/*", "arn:aws-cn:s3:::mod??s/a/model.onnx", ["x", "*"]]
)
@pytest.mark.parametrize("action", ["s3:GetObject", "S3:getobject", "s3:Get*", "*", ["s3:PutObject", "s3:GetObject"]])
def test_a_statement_that_covers_it_allows_it(action: Any, on: Any) -> None:
    assert grants(stack(statement(action, on)), ROLE).allows("s3:GetObject", FILE)
    assert grants(stack(statement(action, on), managed=True), ROLE).allows("s3:GetObject", FILE)


@pytest.mark.parametrize(
    "other",
    [
        statement("s3:PutObject", "*"),
        statement("s3:GetObject", "arn:aws:s3:::models/b/*"),
        statement("s3:GetObject", "arn:aws:dynamodb:::models/a/*"),
        statement("s3:GetObject", "*", effect="Deny"),
        statement("s3:GetObject", "arn:aws:s3:::Models/*"),
        {"Effect": "Allow", "NotAction": ["s3:PutObject", "s3:get*"], "Resource": "*"},
        {"Effect": "Allow"},
    ],
)
def test_any_other_does_not(other: dict[str, Any]) -> None:
    assert not grants(stack(other), ROLE).allows("s3:GetObject", FILE)


def test_a_denial_is_above_what_allows() -> None:
    both = stack(statement("*", "*"), statement("s3:*", "arn:aws:s3:::models/*", effect="Deny"))
    assert not grants(both, ROLE).allows("s3:GetObject", FILE)
    assert grants(both, ROLE).allows("s3:GetObject", of("s3", "others/model.onnx"))


def test_what_speaks_of_all_actions_but_some_speaks_of_the_others() -> None:
    but_writing = {"NotAction": "s3:Put*", "Resource": "*"}
    allowed, denied = {"Effect": "Allow", **but_writing}, {"Effect": "Deny", **but_writing}
    assert grants(stack(allowed), ROLE).allows("s3:GetObject", FILE)
    assert not grants(stack(allowed), ROLE).allows("s3:PutObject", FILE)
    assert grants(stack(statement("*", "*"), denied), ROLE).denies("s3:GetObject", FILE)
    assert grants(stack(statement("*", "*"), denied), ROLE).allows("s3:PutObject", FILE)


@pytest.mark.parametrize(
    ("via", "allowed"),
    [
        ("s3.us-east-1.amazonaws.com", True),
        (["dynamodb.x.amazonaws.com", "s3.x.amazonaws.com"], True),
        ("sqs.x", False),
    ],
)
def test_a_key_is_used_through_the_services_that_are_named(via: Any, allowed: bool) -> None:
    given = statement("kms:Decrypt", KEY, Condition={"StringEquals": {"kms:ViaService": via}})
    assert grants(stack(given), ROLE).allows("kms:Decrypt", arn(KEY), "s3") is allowed


def test_a_secret_is_known_by_its_name_with_the_characters_that_aws_adds() -> None:
    covered = secret("/app/keys")
    where = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    assert all(covered(f"{where}/app/keys{end}") for end in ("", "-*", "-Ab3dE9", "-??????", "*"))
    assert not any(covered(f"{where}{name}") for name in ("/app/keys2", "/app/key", "/other/*", "/app/keys-abc"))


def test_what_is_not_known_is_not_taken_for_allowed() -> None:
    unknown = resource("aws:iam/rolePolicy:RolePolicy", {"policy": UNKNOWN}, links={"role": [ROLE]})
    with pytest.raises(UnknownValueError):
        grants(Stack((ROLE, unknown)), ROLE)
