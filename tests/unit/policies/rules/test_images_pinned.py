"""``images-pinned``."""

from __future__ import annotations

import pytest

from policies.rules.images_pinned import images_pinned
from policies.testing import Case, Cases, drop, put, resource
from tests.unit.policies.rules.pods import (
    DIGEST,
    HEAD,
    WORKER,
    container_app,
    container_group,
    deployment,
    ray_service,
    task,
)

FUNCTION = "aws:lambda/function:Function"
SPARK = "aws:emrserverless/application:Application"
TAGGED = "registry:5000/ours/it:0.1.0"
CONTAINER = "template.containers[0].image"
TAGS = {"digest": False}
UNPINNED = ("registry/ours", "registry/ours:latest", "registry:5000/ours", "", None, 1, "ours@sha256:4c")

CASES = [
    Cases(
        images_pinned,
        passing=[
            container_app(image=DIGEST),
            container_group(image=DIGEST),
            task(image=DIGEST),
            deployment(image=DIGEST),
            ray_service({}, image=DIGEST),
            resource(FUNCTION, {"packageType": "Image", "imageUri": DIGEST}),
            resource(FUNCTION, {"runtime": "python3.11"}),
            resource(SPARK, {"imageConfiguration": {"imageUri": DIGEST}}),
            resource(SPARK, {"releaseLabel": "emr-spark-8.0.0"}),
        ],
        failing=[
            *(put(CONTAINER, image) for image in (*UNPINNED, TAGGED)),
            drop(CONTAINER),
            put("template.initContainers", [{"image": TAGGED}]),
            container_group(image=TAGGED),
            task(image=TAGGED),
            resource("aws:ecs/taskDefinition:TaskDefinition", {"containerDefinitions": "none"}),
            deployment(image=TAGGED),
            ray_service({"image": TAGGED}, image=DIGEST),
            resource(FUNCTION, {"packageType": "Image", "imageUri": TAGGED}),
            resource(SPARK, {"imageConfiguration": {"imageUri": TAGGED}}),
        ],
        unknown=[CONTAINER, "template", "template.containers"],
    ),
    Cases(
        images_pinned,
        passing=[ray_service(image=DIGEST)],
        failing=[put(f"{HEAD}.containers[0].image", TAGGED), put(f"{WORKER}.containers[0].image", TAGGED)],
        unknown=[HEAD, f"{WORKER}.containers[0].image", "spec.rayClusterConfig.workerGroupSpecs"],
    ),
    Cases(
        images_pinned,
        passing=[container_app(image=TAGGED), container_app(image=DIGEST), task(image="ours:0.1.0")],
        failing=[put(CONTAINER, image) for image in UNPINNED],
        unknown=[CONTAINER],
        config=TAGS,
    ),
    Cases(
        images_pinned,
        passing=[resource(FUNCTION, {"imageUri": DIGEST})],
        failing=[put("imageUri", TAGGED), put("imageUri", "")],
        unknown=["imageUri"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_images_pinned(case: Case) -> None:
    case.check()
