"""Text encoders as backends: of OpenAI's embeddings, and, as a model of the data plane, of the other protocols."""

from __future__ import annotations

import base64
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from serve.context import RequestContext
from serve.dataplane import ServedModel
from serve.gateway.errors import BackendError, InputRejected, NotReady
from serve.llm.backend import MOST_INPUTS, Body, Completed, Operation, Tokens, Work
from serve.llm.encoders.encoder import CHARACTERS_A_TOKEN, Encoder
from serve.llm.encoders.texts import TextRejected, read
from serve.llm.plane import LanguagePlane
from serve.llm.settings import Onnx
from serve.placement.base import Inputs, Outputs, Watch, unwatched
from serve.runtimes.base import Array, ModelMetadata, Tensor
from serve.runtimes.onnx import PLATFORM
from serve.validation import InputSchema
from spark_jobs.contract import CategoricalProfile, Column
from training.bundle import BundleVersion
from training.encoder_card import VECTOR

TEXT = "text"

COLUMN = Column(
    name=TEXT,
    dtype="string",
    role="feature",
    description="what is encoded",
    profile=CategoricalProfile(count=0, missing=0, frequencies={}),
)


CONTEXT: ContextVar[RequestContext | None] = ContextVar("CONTEXT", default=None)
"""Of the data plane's request whose task this is: it has a deadline of its own, and nothing cancels it when its client
goes. OpenAI's embeddings are cancelled then."""


class EncoderBackend:
    """Keeps to :class:`serve.llm.backend.Backend`. ``encoder``: the version that answers now, if any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.encoder: Encoder | None = None

    @property
    def name(self) -> str:
        return self._name

    async def ready(self) -> bool:
        return self.encoder is not None

    async def run(self, operation: Operation, body: Body, work: Work | None = None) -> Completed:  # noqa: ARG002
        # Before anything is waited for: the data plane has named the version that answers by then.
        encoder = self.encoder
        if encoder is None:
            raise NotReady(self._name)
        if operation != "embeddings":
            raise BackendError(400, "unsupported_operation", "this model gives embeddings alone", "model")
        asked = read(body, encoder.card.dims, encoder.card.max_tokens)
        vectors, count = await encoder.encode(asked, CONTEXT.get() or RequestContext())
        document: dict[str, Any] = {
            "object": "list",
            "model": str(body.get("model") or self._name),
            "data": [
                {"object": "embedding", "index": index, "embedding": _packed(vector) if asked.packed else vector}
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return Completed(document, Tokens(input=count), encoder.version)

    async def close(self) -> None:
        """Its versions are closed by whoever loaded them."""


@dataclass(frozen=True)
class OneText:
    """A batch's one column, as a contract would say it."""

    features: tuple[Column, ...] = (COLUMN,)
    numeric: tuple[Column, ...] = ()
    categorical: tuple[Column, ...] = (COLUMN,)


class EncoderPlace:
    """Keeps to :class:`serve.placement.base.Place`: ``text`` [N] → ``vector`` [N, dims] float32.

    A request goes the way of the language models, so that budgets hold it and the ledger has it.
    """

    def __init__(self, name: str, encoder: Encoder, plane: LanguagePlane) -> None:
        self._name = name
        self._plane = plane
        self.encoder = encoder
        self._metadata = ModelMetadata(
            PLATFORM,
            (Tensor(TEXT, np.dtype(object), (-1,)),),
            (Tensor(VECTOR, np.dtype(np.float32), (-1, encoder.card.dims)),),
        )

    @property
    def metadata(self) -> ModelMetadata:
        return self._metadata

    @property
    def waiting(self) -> int:
        return self.encoder.waiting

    async def predict(self, inputs: Inputs, rows: int, outputs: Any, context: RequestContext) -> Outputs:  # noqa: ARG002
        body = {"model": self._name, "input": inputs[TEXT].tolist()}
        told = CONTEXT.set(context)
        try:
            found = await self._plane.run("embeddings", body, context, context.request_id)
        except TextRejected as error:
            raise InputRejected(self._name, TEXT, error.row, error.expected, error.came) from error
        finally:
            CONTEXT.reset(told)
            # The router has put the backend's name there.
            context.version = self.encoder.version
        # Of embeddings there is no stream.
        document = cast("Completed", found).document
        return {VECTOR: np.stack([entry["embedding"] for entry in document["data"]])}

    async def close(self) -> None:
        await self.encoder.close()


def loaded(
    name: str, version: BundleVersion, folder: Path, settings: Onnx, plane: LanguagePlane, watch: Watch = unwatched
) -> ServedModel:
    """Verified files as a model of the data plane, by the name that clients ask for.

    Raises:
        EncoderUnusable, CardUnreadable, ModelUnloadable.
    """
    encoder = Encoder.load(
        name,
        version.version,
        folder,
        threads=settings.threads,
        queue=settings.queue,
        max_tokens=settings.max_tokens,
        watch=watch,
    )
    longest = encoder.card.max_tokens * CHARACTERS_A_TOKEN
    schema = InputSchema(name, OneText(), MOST_INPUTS, longest_string=longest)
    return ServedModel(name, encoder.version, schema, EncoderPlace(name, encoder, plane))


def encoder_of(model: ServedModel) -> Encoder:
    """The encoder of a model that :func:`loaded` has made."""
    return cast("EncoderPlace", model.place).encoder


def _packed(vector: Array) -> str:
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")
