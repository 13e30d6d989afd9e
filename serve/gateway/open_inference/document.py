"""The JSON of an inference request (section "Inference Request JSON Object"), typed and fast.

:func:`parse` answers with a :class:`Document` whose parts are of the right JSON types; what has to fit
together (a shape and its data, sizes, names) is for :mod:`.request`. msgspec decodes into the types
below and refuses the rest in C; what it refuses, :mod:`.careful` looks at again, to say what is wrong.
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serve.gateway.open_inference.datatypes import DATATYPES, Datatype

Scalar = str | int | float | bool
Parameters = dict[str, Scalar]

# msgspec reads an integer of any length, the careful decoder takes those beyond 64 bits for floats:
# within these bounds they agree, and beyond them the careful one decides.
_INT64 = Meta(ge=-(2**63), le=2**63 - 1)
_FastParameters = dict[str, str | Annotated[int, _INT64] | float | bool]
_FastShape = list[Annotated[int, Meta(ge=0, le=2**63 - 1)]]

_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class InputTensor(msgspec.Struct, kw_only=True, gc=False):
    """An input as it came. ``data`` is absent where it comes as binary. A subclass per data type."""

    name: str
    shape: list[int]
    data: list[object] | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET

    datatype: ClassVar[Datatype]


class OutputTensor(msgspec.Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An output that the client asks for."""

    name: str
    parameters: Parameters | UnsetType = UNSET


class Document(msgspec.Struct, kw_only=True, gc=False):
    """A request as it came. The specification has ``model_name`` in gRPC alone, KServe's client sends it here too."""

    inputs: list[InputTensor]
    outputs: list[OutputTensor] | UnsetType = UNSET
    id: str | None = None
    parameters: Parameters | UnsetType = UNSET
    model_name: str | None = None
    model_version: str | None = None


def _element(datatype: Datatype) -> Any:
    if datatype.low is not None and datatype.high is not None:
        return Annotated[int, Meta(ge=datatype.low, le=min(datatype.high, 2**63 - 1))]
    # "float" takes JSON's integers too.
    return next(kind for kind in (float, str, bool) if kind in datatype.kinds)


def _input(datatype: Datatype) -> type[InputTensor]:
    data = GenericAlias(list, (_element(datatype) | None,))
    made = msgspec.defstruct(
        f"{datatype.name}Input",
        [
            ("shape", _FastShape),
            ("data", data | UnsetType, UNSET),
            ("parameters", _FastParameters | UnsetType, UNSET),
        ],
        bases=(InputTensor,),
        tag_field="datatype",
        tag=datatype.name,
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,
    )
    found = cast("type[InputTensor]", made)
    found.datatype = datatype
    return found


INPUTS: dict[str, type[InputTensor]] = {name: _input(datatype) for name, datatype in DATATYPES.items()}

if TYPE_CHECKING:
    _FastOutput = OutputTensor
    _FastDocument = Document
else:
    _FastOutput = msgspec.defstruct(
        "FastOutput",
        [("parameters", _FastParameters | UnsetType, UNSET)],
        bases=(OutputTensor,),
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,
    )
    _FastDocument = msgspec.defstruct(
        "FastDocument",
        [
            ("inputs", list[Union[tuple(INPUTS.values())]]),  # noqa: UP007 (made at run time)
            ("outputs", list[_FastOutput] | UnsetType, UNSET),
            ("parameters", _FastParameters | UnsetType, UNSET),
        ],
        bases=(Document,),
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,
    )

_DECODER: msgspec.json.Decoder[Document] = msgspec.json.Decoder(_FastDocument)


def parse(text: bytes | memoryview) -> Document:
    """The request's JSON object.

    Raises:
        MalformedRequest: the text is not JSON, or has an unknown key, or a value is not of its type;
            it names the place.
    """
    document = parse_fast(text)
    if document is not None:
        return document
    # The way of all that is refused, of a column that comes as a matrix, and of integers beyond 63 bits.
    from serve.gateway.open_inference import careful

    return careful.parse(bytes(text))


def parse_fast(text: bytes | memoryview) -> Document | None:
    """The request's JSON object, or ``None`` where only the careful decoder can say."""
    try:
        return _DECODER.decode(text)
    except _REFUSALS:
        return None
