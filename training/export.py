"""Network → one ONNX graph: raw named columns in, probability out.

The graph has one rank-1 input per feature, [N] string or [N] float32, named as the contract names
it, and one output, :data:`OUTPUT`, [N] float32. Strings are looked up by ``ai.onnx.ml``
LabelEncoder nodes in front of the exported network; scaling, missing flags and bins are the
network's own buffers.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import torch
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from console import one_line
from spark_jobs.contract import Contract
from training.data import UNKNOWN, Examples, Vocabularies
from training.errors import ExportRefused
from training.network import Probability, TabularNetwork, probabilities

OUTPUT = "probability"

TOLERANCE = 1e-5
"""The largest difference of a probability between the graph on ONNX Runtime and the network on
torch. Both compute in float32; what is left is the order of sums (about 1e-7 here)."""

OPSET = 18
ML_OPSET = 4
IR_VERSION = 10

# Column names hold no slash, so nothing under these prefixes can collide with one.
CORE = "network/"
MATRIX = "front/matrix/"
NUMERIC = "numeric"
CATEGORIES = "categories"


def export(network: TabularNetwork, contract: Contract, vocabularies: Vocabularies) -> ModelProto:
    """Export the network and merge the look-up of raw columns in front of it.

    The same weights give the same bytes each time.

    Raises:
        ExportRefused: a feature has the name of the graph's output, or torch can't export the network.
    """
    if OUTPUT in {column.name for column in contract.features}:
        raise ExportRefused(f"a feature can't be called {OUTPUT!r}: that is the name of the graph's output")
    front = _front(contract, vocabularies)
    core = compose.add_prefix(_core(network, contract), CORE, rename_outputs=False)
    joints = [(output.name, CORE + output.name.removeprefix(MATRIX)) for output in front.graph.output]
    graph = compose.merge_models(front, core, io_map=joints)
    graph.graph.name = contract.view
    require_valid(graph, full=True)
    return graph


def feed(contract: Contract, table: pa.Table) -> dict[str, np.ndarray]:
    """The graph's inputs for rows of a view: [N] object (str, "" = missing) or [N] float32 (NaN = missing)."""
    return {
        column.name: (
            np.asarray(table[column.name].fill_null("").to_numpy(), object)
            if column.is_categorical
            else table[column.name].to_numpy().astype(np.float32)
        )
        for column in contract.features
    }


def run_graph(graph: ModelProto, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Probabilities [N] float32 of the graph on ONNX Runtime's CPU provider.

    Raises:
        ExportRefused: it can't read the graph, or run it.
    """
    session = opened(graph)
    try:
        output: np.ndarray = session.run([OUTPUT], dict(inputs))[0]
    except Exception as error:
        raise ExportRefused(f"ONNX Runtime can't run the graph: {one_line(str(error))[:200]}") from error
    return output


def opened(graph: ModelProto) -> onnxruntime.InferenceSession:
    """The graph on ONNX Runtime's CPU provider. Raises: ExportRefused: it can't read it."""
    try:
        return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportRefused(f"ONNX Runtime can't read the graph: {one_line(str(error))[:200]}") from error


def require_valid(graph: ModelProto, *, full: bool = False) -> None:
    """``full``: shapes and types too. Raises: ExportRefused."""
    try:
        onnx.checker.check_model(graph, full_check=full)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportRefused(f"the graph is not a valid one: {one_line(str(error))[:200]}") from error


def check_against_torch(
    graph: ModelProto, network: TabularNetwork, examples: Examples, inputs: Mapping[str, np.ndarray]
) -> float:
    """Answer the same rows with the graph and with the network; return the largest difference.

    Raises:
        ExportRefused: it is over :data:`TOLERANCE`, an answer is not a number, or the graph can't be run.
    """
    expected = probabilities(network, torch.from_numpy(examples.numeric), torch.from_numpy(examples.categories))
    difference = np.abs(run_graph(graph, inputs) - expected.numpy())
    largest = float(difference.max(initial=0.0))
    if not largest <= TOLERANCE:
        raise ExportRefused(
            f"the graph differs from the network by {largest:.2e} on row {int(np.argmax(difference))} of "
            f"{len(examples)}, over the tolerance of {TOLERANCE:.0e}"
        )
    return largest


class _OneMatrix(torch.nn.Module):
    """A network of numbers alone, or of categories alone: it does not look at the matrix it has no columns of."""

    def __init__(self, served: Probability) -> None:
        super().__init__()
        self.served = served

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        probability: torch.Tensor = self.served(matrix, matrix)
        return probability


def _core(network: TabularNetwork, contract: Contract) -> ModelProto:
    """``numeric`` [N, F] float32 and ``categories`` [N, C] int64, where there are such columns → probability [N]."""
    rows = torch.export.Dim("N", min=1, max=1 << 20)
    example = {
        name: torch.zeros(4, len(columns), dtype=dtype)
        for name, columns, dtype in (
            (NUMERIC, contract.numeric, torch.float32),
            (CATEGORIES, contract.categorical, torch.int64),
        )
        if columns
    }
    served = Probability(network).eval()
    network_alone = served if len(example) == 2 else _OneMatrix(served).eval()
    return traced(network_alone, example, OUTPUT, tuple({0: rows} for _ in example))


def traced(
    network: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    output: str,
    shapes: tuple[dict[int, torch.export.Dim], ...],
) -> ModelProto:
    """A network as torch exports it, with the inputs of ``example`` by their names. ``shapes``: which axes may vary.

    Raises:
        ExportRefused: torch can't.
    """
    try:
        with _exporter_silenced():
            program = torch.onnx.export(
                network,
                tuple(example.values()),
                dynamo=True,
                input_names=list(example),
                output_names=[output],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
            )
        if program is None:
            raise ExportRefused("torch.onnx.export gave no program")
        graph: ModelProto = program.model_proto
    except (RuntimeError, ValueError, TypeError, torch.onnx.OnnxExporterError) as error:
        raise ExportRefused(f"torch can't export this network: {one_line(str(error))[:200]}") from error
    graph.ir_version = IR_VERSION
    _forget_where_it_was_made(graph)
    return graph


@contextmanager
def _exporter_silenced() -> Iterator[None]:
    """What torch's exporter warns of here (shared axis names, its own deprecations) nobody can act on."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(level)


def _forget_where_it_was_made(model: ModelProto) -> None:
    """Drop the exporter's stack traces: they hold paths of this machine, and change the digest."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _front(contract: Contract, vocabularies: Vocabularies) -> ModelProto:
    """Raw columns [N] → the matrices of the core: ``numeric`` and ``categories``, where there are any."""
    axis = "front/axis"
    nodes: list[NodeProto] = []
    inputs = [
        helper.make_tensor_value_info(
            column.name, TensorProto.STRING if column.is_categorical else TensorProto.FLOAT, ["N"]
        )
        for column in contract.features
    ]
    outputs = []

    def matrix(name: str, columns: list[str], element: int) -> None:
        if not columns:
            return
        stacked = [f"front/{column}/column" for column in columns]
        nodes.extend(
            helper.make_node("Unsqueeze", [column, axis], [as_column])
            for column, as_column in zip(columns, stacked, strict=True)
        )
        nodes.append(helper.make_node("Concat", stacked, [name], axis=1))
        outputs.append(helper.make_tensor_value_info(name, element, ["N", len(columns)]))

    for name, known in zip(vocabularies.names, vocabularies.categories, strict=True):
        nodes.append(_look_up(name, known))
    matrix(MATRIX + NUMERIC, [column.name for column in contract.numeric], TensorProto.FLOAT)
    matrix(MATRIX + CATEGORIES, [f"front/{name}" for name in vocabularies.names], TensorProto.INT64)
    graph = helper.make_graph(nodes, "front", inputs, outputs, [numpy_helper.from_array(np.array([1]), axis)])
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )


def _look_up(name: str, known: tuple[str, ...]) -> NodeProto:
    """[N] string → [N] int64. An empty vocabulary still needs a key: no client can send this one and mean it."""
    keys = known or ("\0",)
    indices = [index + 1 for index in range(len(known))] or [UNKNOWN]
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"front/{name}"],
        domain="ai.onnx.ml",
        keys_strings=list(keys),
        values_int64s=indices,
        default_int64=UNKNOWN,
    )
