"""The exported graph on the real ONNX Runtime, beside the network on torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from spark_jobs.contract import Contract
from tests import synthetic
from training.data import Examples, View, Vocabularies
from training.errors import ExportRefused
from training.export import OUTPUT, TOLERANCE, check_against_torch, export, feed, run_graph
from training.network import TabularNetwork
from training.recipe import Architecture

pytestmark = pytest.mark.integration

MIN_ROWS = 50


@dataclass(frozen=True)
class Exported:
    contract: Contract
    vocabularies: Vocabularies
    network: TabularNetwork
    graph: onnx.ModelProto
    examples: Examples
    inputs: dict[str, np.ndarray]


def exported(folder: Path, features: tuple[str, ...]) -> Exported:
    contract = synthetic.write_view(folder, 2000, features)
    view = View.open(folder)
    vocabularies = Vocabularies.of(contract, MIN_ROWS)
    torch.manual_seed(0)
    network = TabularNetwork(contract, Architecture(width=16, min_category_rows=MIN_ROWS)).eval()
    return Exported(
        contract,
        vocabularies,
        network,
        export(network, contract, vocabularies),
        view.examples("test", vocabularies),
        feed(contract, view.rows("test")),
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("mixed"), ("size", "age", "shop"))


def test_the_inputs_are_the_features_of_the_contract_one_column_each(mixed: Exported) -> None:
    kinds = {onnx.TensorProto.STRING: "string", onnx.TensorProto.FLOAT: "float32"}
    found = {
        given.name: (kinds[given.type.tensor_type.elem_type], len(given.type.tensor_type.shape.dim))
        for given in mixed.graph.graph.input
    }
    assert found == {column.name: (column.dtype, 1) for column in mixed.contract.features}
    assert [output.name for output in mixed.graph.graph.output] == [OUTPUT]


def test_the_graph_answers_as_the_network_for_a_view_of_both_kinds(mixed: Exported) -> None:
    assert check_against_torch(mixed.graph, mixed.network, mixed.examples, mixed.inputs) <= TOLERANCE


@pytest.mark.parametrize("features", [("size", "age"), ("shop",)], ids="+".join)
def test_the_graph_answers_as_the_network_for_a_view_of_one_kind(features: tuple[str, ...], tmp_path: Path) -> None:
    found = exported(tmp_path, features)
    assert check_against_torch(found.graph, found.network, found.examples, found.inputs) <= TOLERANCE


@pytest.mark.parametrize("rows", [1, 2, 7, 300])
def test_a_row_is_answered_alike_in_a_batch_of_any_size(mixed: Exported, rows: int) -> None:
    whole = run_graph(mixed.graph, mixed.inputs)
    part = run_graph(mixed.graph, {name: values[:rows] for name, values in mixed.inputs.items()})
    assert part.shape == (rows,)
    np.testing.assert_allclose(part, whole[:rows], atol=TOLERANCE)


def test_an_unknown_category_and_a_missing_one_are_answered_alike(mixed: Exported) -> None:
    row = {name: values[:1] for name, values in mixed.inputs.items()}
    answers = [run_graph(mixed.graph, {**row, "shop": np.array([shop], object)}) for shop in ("", "west", "north")]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_a_missing_number_is_a_legal_input(mixed: Exported) -> None:
    row = {name: values[:1] for name, values in mixed.inputs.items()}
    answer = run_graph(mixed.graph, {**row, "age": np.array([np.nan], np.float32)})
    assert np.isfinite(answer).all()


def test_the_same_weights_give_the_same_bytes_and_none_of_them_is_a_path(mixed: Exported) -> None:
    content = mixed.graph.SerializeToString()
    assert export(mixed.network, mixed.contract, mixed.vocabularies).SerializeToString() == content
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[3]).encode() not in content


def test_a_graph_of_other_weights_is_refused(mixed: Exported) -> None:
    torch.manual_seed(1)
    other = TabularNetwork(mixed.contract, Architecture(width=16, min_category_rows=MIN_ROWS)).eval()
    with pytest.raises(ExportRefused, match="the graph differs from the network by"):
        check_against_torch(mixed.graph, other, mixed.examples, mixed.inputs)


def test_a_graph_that_can_not_be_read_or_run_is_refused(mixed: Exported) -> None:
    with pytest.raises(ExportRefused, match="ONNX Runtime can't read the graph"):
        check_against_torch(onnx.ModelProto(), mixed.network, mixed.examples, mixed.inputs)
    with pytest.raises(ExportRefused, match="ONNX Runtime can't run the graph"):
        check_against_torch(mixed.graph, mixed.network, mixed.examples, {})


def test_a_feature_with_the_name_of_the_output_is_refused(mixed: Exported) -> None:
    document = mixed.contract.model_dump()
    next(column for column in document["columns"] if column["name"] == "size")["name"] = OUTPUT
    with pytest.raises(ExportRefused, match="a feature can't be called 'probability'"):
        export(mixed.network, Contract.model_validate(document), mixed.vocabularies)
