"""An inference request, decoded: what a body with or without binary data says, checked as a whole.

Sections "Inference Request JSON Object" and "Parameters" of the specification, and its extension
"Binary Tensor Data". Of the parameters, these mean something here; all others are ignored:

======================  ======================  ==========================================
at the request          ``timeout``             microseconds, a whole number; 0 is none
at the request          ``binary_data_output``  all outputs come as binary data
at an input             ``binary_data_size``    its data is in the body behind the JSON
at an output            ``binary_data``         this output comes as binary data, or not
======================  ======================  ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import UNSET

from serve.gateway.errors import MalformedRequest, shown
from serve.gateway.open_inference import document as json_document
from serve.gateway.open_inference.binary import BinaryData
from serve.gateway.open_inference.document import Document, InputTensor, Parameters
from serve.validation import Values

MICROSECONDS = 1_000_000
LONGEST_TIMEOUT = 2**63 - 1

_NO_PARAMETERS: Parameters = {}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request.

    ``columns``: an array ``[N]`` of the datatype's dtype (BF16: float32) where it came as bytes, else
    a list; strings that came as bytes are a list of ``str`` or ``Texts``. ``outputs`` is ``None`` where
    the client wants all.
    ``timeout_seconds`` is what the client grants, ``None`` where it says nothing. ``binary_output``
    says whether outputs come as raw bytes, but for those that ``binary_outputs`` names.
    """

    id: str | None
    columns: dict[str, Values]
    outputs: list[str] | None
    timeout_seconds: float | None = None
    binary_output: bool = False
    binary_outputs: Mapping[str, bool] = field(default_factory=dict)

    def is_binary(self, output: str) -> bool:
        return self.binary_outputs.get(output, self.binary_output)


def decode_request(body: bytes, header_length: int | None = None) -> InferRequest:
    """Decode a body: JSON, followed by binary data where ``header_length`` says how long the JSON is.

    Raises:
        MalformedRequest: it is not JSON, not of the protocol's shape, or its binary data is not of the
            sizes that it says; it names ``inputs[i]``.
    """
    if header_length is None:
        return assemble(json_document.parse(body), None)
    return assemble(json_document.parse(memoryview(body)[:header_length]), BinaryData(body, header_length))


def assemble(document: Document, binary: BinaryData | None) -> InferRequest:
    """Put a request together from its JSON and its binary data, as :func:`decode_request` does."""
    columns = _columns(document, binary)
    if document.outputs is UNSET and document.parameters is UNSET:
        return InferRequest(document.id, columns, None)
    parameters = _NO_PARAMETERS if document.parameters is UNSET else document.parameters
    names, binary_outputs = _outputs(document)
    return InferRequest(
        document.id,
        columns,
        names or None,
        timeout(parameters),
        flag(parameters, "binary_data_output", "the request") or False,
        binary_outputs,
    )


def timeout(parameters: Parameters) -> float | None:
    """The request's ``timeout`` in seconds; Triton counts it in microseconds, and 0 is none.

    Raises:
        MalformedRequest: it is not a whole number, or negative.
    """
    value = parameters.get("timeout", 0)
    if type(value) is not int or not 0 <= value <= LONGEST_TIMEOUT:
        raise MalformedRequest(
            f"the request.parameters: 'timeout': expected microseconds, a whole number, got {shown(value)}"
        )
    return value / MICROSECONDS or None


def flag(parameters: Parameters, name: str, where: str) -> bool | None:
    """A boolean parameter, ``None`` where it is absent. Raises: MalformedRequest."""
    value = parameters.get(name)
    if not isinstance(value, bool | None):
        raise MalformedRequest(f"{where}.parameters: {name!r}: expected a boolean, got {shown(value)}")
    return value


def check_output(parameters: Parameters, where: str) -> None:
    """Refuse what would change an output and is not served. Raises: MalformedRequest."""
    for name in ("classification", "shared_memory_region"):
        if name in parameters:
            raise MalformedRequest(f"{where}.parameters: {name!r} is not served")


def _columns(document: Document, binary: BinaryData | None) -> dict[str, Values]:
    columns: dict[str, Values] = {}
    for index, tensor in enumerate(document.inputs):
        data = tensor.data
        if data is not UNSET and tensor.parameters is UNSET and tensor.shape == [len(data)]:
            columns[tensor.name] = data
            continue
        floats = None if binary is None else binary.floats(tensor)
        columns[tensor.name] = _column(tensor, binary, f"inputs[{index}]") if floats is None else floats
    if len(columns) < len(document.inputs):
        names = [tensor.name for tensor in document.inputs]
        index = next(index for index, name in enumerate(names) if name in names[:index])
        raise MalformedRequest(f"inputs[{index}]: there is an input {shown(names[index])} already")
    if binary is not None:
        binary.require_end()
    return columns


def _column(tensor: InputTensor, binary: BinaryData | None, where: str) -> Values:
    parameters = _NO_PARAMETERS if tensor.parameters is UNSET else tensor.parameters
    rows = rows_of(tensor.shape, where)
    data = tensor.data
    if "binary_data_size" in parameters:
        if binary is None:
            raise MalformedRequest(
                f"{where}: binary data needs the header inference-header-content-length, which is missing"
            )
        if data is not UNSET:
            raise MalformedRequest(f"{where}: expected data or parameters.binary_data_size, got both")
        return binary.column(tensor.name, tensor.datatype, rows, parameters["binary_data_size"], where)
    if data is UNSET:
        raise MalformedRequest(f"{where}.data: is missing, and so is parameters.binary_data_size")
    if len(data) != rows:
        raise MalformedRequest(f"{where}.data: expected {rows} values, as shape says, got {len(data)}")
    return data


def rows_of(shape: list[int], where: str) -> int:
    """The rows of a column of this shape. Raises: MalformedRequest, where it is not ``[N]`` or ``[N, 1]``."""
    if shape and shape[0] >= 0 and (len(shape) == 1 or shape[1:] == [1]):
        return shape[0]
    raise MalformedRequest(f"{where}.shape: expected [rows] or [rows, 1], got {shown(shape)}")


def _outputs(document: Document) -> tuple[list[str], dict[str, bool]]:
    names: list[str] = []
    binary: dict[str, bool] = {}
    for index, output in enumerate(document.outputs or ()):
        names.append(output.name)
        if output.parameters is not UNSET:
            where = f"outputs[{index}]"
            check_output(output.parameters, where)
            wanted = flag(output.parameters, "binary_data", where)
            if wanted is not None:
                binary[output.name] = wanted
    return names, binary
