"""``lambda-urls-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.lambda_urls_not_open import PERMISSION, URL, lambda_urls_not_open
from policies.testing import Case, Cases, drop, put, resource

INVOKE = {"action": "lambda:InvokeFunctionUrl", "principal": "123456789012", "functionUrlAuthType": "AWS_IAM"}

CASES = [
    Cases(
        lambda_urls_not_open,
        passing=[resource(URL, {"functionName": "it", "authorizationType": "AWS_IAM"})],
        failing=[put("authorizationType", "NONE"), drop("authorizationType")],
        unknown=["authorizationType"],
    ),
    Cases(
        lambda_urls_not_open,
        passing=[
            resource(PERMISSION, INVOKE),
            resource(PERMISSION, {"action": "lambda:InvokeFunction", "principal": "apigateway.amazonaws.com"}),
        ],
        failing=[put("functionUrlAuthType", "NONE")],
        unknown=["functionUrlAuthType"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_lambda_urls_not_open(case: Case) -> None:
    case.check()
