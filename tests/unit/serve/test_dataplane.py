"""What the data plane takes, what it refuses, and how a version takes the place of another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from serve.caller import Caller
from serve.context import RequestContext
from serve.dataplane import DataPlane, Result, ServedModel
from serve.gateway.errors import Forbidden, InputRejected, ModelNotFound, NotReady
from serve.placement.inline import ROWS_ON_THE_LOOP, Inline
from serve.runtimes.onnx import OnnxRuntime
from serve.validation import InputSchema
from tests.unit.serve import tiny


def infer(plane: DataPlane, columns: Mapping[str, Sequence[object]], **options: object) -> Result:
    return asyncio.run(plane.infer(tiny.NAME, None, columns, **options))  # type: ignore[arg-type]


LARGE = tiny.columns(tiny.ROWS[:1] * (ROWS_ON_THE_LOOP + 1))


def changed(name: str, *values: object) -> dict[str, list[object]]:
    """The columns of a good batch, with one column replaced."""
    return tiny.columns() | {name: list(values)}


def test_a_batch_gets_what_the_graph_computes_and_says_which_version_did(plane: DataPlane) -> None:
    result = infer(plane, tiny.columns())
    np.testing.assert_allclose(result.outputs["probability"], tiny.expected(), rtol=1e-6)
    assert (result.model, result.version) == (tiny.NAME, "7")


def test_the_order_of_columns_does_not_matter(plane: DataPlane) -> None:
    shuffled = dict(reversed(tiny.columns().items()))
    np.testing.assert_allclose(infer(plane, shuffled).outputs["probability"], tiny.expected(), rtol=1e-6)


def test_only_the_outputs_asked_for_are_given(plane: DataPlane) -> None:
    assert list(infer(plane, tiny.columns(), outputs=["score"]).outputs) == ["score"]


def test_null_is_nan_in_a_nullable_number_and_unknown_in_a_nullable_string(plane: DataPlane) -> None:
    row = {"zone": "south", "depot": None, "weight": 1.0, "hour": None}
    result = infer(plane, tiny.columns([row]))
    np.testing.assert_allclose(result.outputs["probability"], tiny.expected([row]), rtol=1e-6)


def test_a_category_never_seen_in_training_is_legal(plane: DataPlane) -> None:
    row = {"zone": "the moon", "depot": "", "weight": 1.0, "hour": 2.0}
    result = infer(plane, tiny.columns([row]))
    np.testing.assert_allclose(result.outputs["probability"], tiny.expected([row]), rtol=1e-6)


MISSING = {name: values for name, values in tiny.columns().items() if name != "weight"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "column 'zone': expected a column of strings, got no such column"),
        (MISSING, "column 'weight': expected a column of numbers, got no such column"),
        (tiny.columns() | {"colour": ["red"] * 3}, "column 'colour': expected no column of this name, got one"),
        (changed("hour", 1.0, 2.0), "column 'hour': expected 3 rows, as in column 'zone', got 2 rows"),
        ({name: [] for name in tiny.FEATURES}, "expected 1 to 500 rows, got 0 rows"),
        (tiny.columns(tiny.ROWS[:1] * 501), "expected 1 to 500 rows, got 501 rows"),
        (changed("weight", 1.0, "2.5", 3.0), "column 'weight', row 1: expected a number, got string '2.5'"),
        (changed("weight", 1.0, 2.0, True), "column 'weight', row 2: expected a number, got boolean True"),
        (changed("weight", 1.0, None, 3.0), "column 'weight', row 1: expected a number, got null"),
        (changed("weight", [1.0], 2.0, 3.0), "column 'weight', row 0: expected a number, got array [1.0]"),
        (changed("hour", 1.0, {}, 3.0), "column 'hour', row 1: expected a number or null, got object {}"),
        (changed("zone", "south", 5, "x"), "column 'zone', row 1: expected a string, got number 5"),
        (changed("zone", "south", "x", None), "column 'zone', row 2: expected a string, got null"),
        (changed("depot", 1.5, "x", None), "column 'depot', row 0: expected a string or null, got number 1.5"),
        (changed("weight", 1.0, 1e39, 3.0), "column 'weight', row 1: expected a number that float32 holds, got 1e+39"),
        (changed("hour", 1.0, 2.0, -(10**39)), "column 'hour', row 2: expected a number that float32 holds"),
    ],
)
def test_a_batch_that_breaks_the_contract_is_told_where_what_was_expected_and_what_came(
    plane: DataPlane, columns: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(InputRejected) as caught:
        infer(plane, columns)
    assert str(caught.value).startswith(f"model {tiny.NAME}")
    assert message in str(caught.value)


def test_whole_numbers_are_legal_in_a_float_column(plane: DataPlane) -> None:
    columns = tiny.columns([{"zone": "south", "depot": "north", "weight": 2, "hour": 7}])
    assert infer(plane, columns).outputs["probability"].dtype == np.float32


def test_an_output_that_the_model_does_not_have_is_refused(plane: DataPlane) -> None:
    with pytest.raises(InputRejected, match=r"outputs among probability, score, got 'odds'"):
        infer(plane, tiny.columns(), outputs=["odds"])


def test_an_unknown_model_or_version_is_refused_with_what_is_served(plane: DataPlane) -> None:
    with pytest.raises(ModelNotFound, match="served: parcels"):
        plane.model("letters")
    with pytest.raises(ModelNotFound, match="version '6' is not served here; served: parcels version 7"):
        plane.model(tiny.NAME, "6")


def test_with_several_models_and_no_default_a_request_must_name_one(served: ServedModel) -> None:
    with pytest.raises(ModelNotFound, match=r"\(default\)"):
        DataPlane([served], None).model()


def test_a_plane_without_models_is_not_ready() -> None:
    with pytest.raises(NotReady):
        DataPlane([]).require_ready()


def test_a_caller_whose_key_does_not_name_the_model_is_refused_before_its_batch_is_looked_at(plane: DataPlane) -> None:
    stranger = RequestContext(Caller("k1", "reports", models=("letters-*",)))
    with pytest.raises(Forbidden, match="key reports may not use model parcels"):
        infer(plane, {}, context=stranger)


def test_what_became_of_a_request_is_in_its_context(plane: DataPlane) -> None:
    context = RequestContext()
    infer(plane, tiny.columns(), context=context)
    assert (context.model, context.version, context.rows) == (tiny.NAME, "7", 3)


def version(model_file: Path, number: str) -> ServedModel:
    runtime = OnnxRuntime()
    runtime.load(model_file, threads=1)
    return ServedModel(tiny.NAME, number, InputSchema(tiny.NAME, tiny.contract(), 500), Inline(runtime))


def test_a_version_that_is_put_in_the_place_of_another_waits_for_the_other_s_last_answer(model_file: Path) -> None:
    async def swap() -> None:
        plane = DataPlane([version(model_file, "8")], tiny.NAME)
        on_its_way = asyncio.create_task(plane.infer(tiny.NAME, None, LARGE))
        await asyncio.sleep(0)
        await plane.put(version(model_file, "9"))
        assert on_its_way.done()
        assert (await on_its_way).version == "8"
        assert (await plane.infer(tiny.NAME, None, tiny.columns())).version == "9"

    asyncio.run(swap())


def test_a_model_that_is_removed_is_not_ready_until_it_is_put_back(model_file: Path) -> None:
    async def remove() -> None:
        plane = DataPlane([version(model_file, "8")], tiny.NAME)
        await plane.remove(tiny.NAME, "unloaded")
        assert not plane.ready
        assert plane.index() == [(tiny.NAME, "8", "UNAVAILABLE", "unloaded")]
        with pytest.raises(NotReady, match="model parcels is not ready"):
            await plane.infer(tiny.NAME, None, tiny.columns())
        await plane.put(version(model_file, "9"))
        assert plane.index() == [(tiny.NAME, "9", "READY", "")]
        assert plane.ready

    asyncio.run(remove())


def test_only_an_administrator_loads_and_unloads(plane: DataPlane) -> None:
    async def attempt() -> None:
        user = RequestContext(Caller("k1", "reports", models=("*",)))
        for change in (plane.load, plane.unload):
            with pytest.raises(Forbidden, match="load and unload models"):
                await change(tiny.NAME, user)
        with pytest.raises(ModelNotFound):
            await plane.load("letters")

    asyncio.run(attempt())
