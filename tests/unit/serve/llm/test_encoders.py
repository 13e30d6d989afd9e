"""A text encoder as a backend and as a model of the data plane: what it takes, what it refuses, and what it gives."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serve.context import RequestContext
from serve.dataplane import DataPlane
from serve.gateway.errors import (
    ClientGone,
    InputRejected,
    NotReady,
    Overloaded,
    ParameterRejected,
    RequestTimeout,
    ServeError,
)
from serve.llm.backend import Completed, Tokens
from serve.llm.encoders.backend import EncoderBackend, encoder_of, loaded
from serve.llm.encoders.encoder import Encoder, EncoderUnusable, runs
from serve.llm.ledger.cost import AcceleratorPricing, AcceleratorTime
from serve.llm.ledger.ledger import NoLedger
from serve.llm.prompts.lookup import Prompts
from serve.llm.router import Priced, Router
from serve.llm.settings import LanguageModel, Onnx, PromptSettings
from serve.settings import Settings
from tests.unit.serve.llm import encoders
from training import encoder as training
from training.bundle import BundleVersion
from training.encoder_card import CARD_FILE, GRAPH_FILE, TOKENIZER_FILE

NAME, BACKEND = "vectors", "tiny"
TEXTS = ["a parcel is late", "late", "a parcel is early a parcel is late", "depot"]
ONE_TEXT = {"text": ["a parcel"]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> training.Encoder:
    return training.read(encoders.folder(tmp_path_factory.mktemp("tiny") / "folder"))


@pytest.fixture(scope="module")
def files(network: training.Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m training encoder`` registers."""
    at = tmp_path_factory.mktemp("files")
    (at / GRAPH_FILE).write_bytes(training.export(network).SerializeToString())
    network.tokenizer.save(str(at / TOKENIZER_FILE))
    (at / CARD_FILE).write_text(network.card.model_dump_json())
    return at


class House:
    """A data plane, a router and a backend around one encoder."""

    def __init__(self, files: Path, **section: Any) -> None:
        self.backend = EncoderBackend(BACKEND)
        models = {NAME: LanguageModel.model_validate({"routes": [{"backend": BACKEND}]})}
        pricing = AcceleratorPricing(None, AcceleratorTime(), 30)
        prompts = Prompts.of(None, PromptSettings())
        self.router = Router(models, {BACKEND: Priced(self.backend, pricing)}, NoLedger(), prompts)
        settings = Onnx.model_validate({"kind": "onnx", "model": "registry:tiny@champion", **section})
        version = BundleVersion("tiny", "7", "", "encoder", "")
        self.model = loaded(NAME, version, files, settings, self.router)
        self.backend.encoder = encoder_of(self.model)
        self.plane = DataPlane([self.model])

    @property
    def encoder(self) -> Encoder:
        return encoder_of(self.model)

    def ask(self, **body: Any) -> Completed:
        return asyncio.run(self.backend.run("embeddings", {"model": BACKEND, **body}))


@pytest.fixture
def house(files: Path) -> Iterator[House]:
    made = House(files)
    yield made
    asyncio.run(made.plane.close())


def expected(network: training.Encoder, text: str) -> np.ndarray:
    ids = torch.tensor([network.tokenizer.encode(text).ids])
    with torch.inference_mode():
        found: np.ndarray = network.network(ids, torch.ones_like(ids)).numpy()[0]
    return found


def vectors(found: Completed) -> np.ndarray:
    return np.array([entry["embedding"] for entry in found.document["data"]])


def test_texts_of_every_length_get_torch_s_vectors_in_their_order(house: House, network: training.Encoder) -> None:
    found = house.ask(input=TEXTS)
    np.testing.assert_allclose(vectors(found), [expected(network, text) for text in TEXTS], atol=1e-6)
    assert [entry["index"] for entry in found.document["data"]] == [0, 1, 2, 3]


def test_all_tokens_are_counted_and_padding_is_not(house: House, network: training.Encoder) -> None:
    found = house.ask(input=TEXTS)
    count = sum(len(network.tokenizer.encode(text).ids) for text in TEXTS)
    assert found.document["usage"] == {"prompt_tokens": count, "total_tokens": count}
    assert (found.tokens, found.version) == (Tokens(count), "7")


def test_a_text_may_come_as_its_tokens(house: House, network: training.Encoder) -> None:
    ids = network.tokenizer.encode("late").ids
    for given in (ids, [ids]):
        np.testing.assert_array_equal(vectors(house.ask(input=given)), vectors(house.ask(input="late")))


def test_base64_is_the_same_numbers(house: House) -> None:
    [entry] = house.ask(input="late", encoding_format="base64").document["data"]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), vectors(house.ask(input="late"))[0]
    )


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": ["late", ""]}, "input[1]", "invalid_value"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": [["late"]]}, "input[0]", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({"input": [len(encoders.WORDS)]}, "input", "invalid_value"),
        ({"input": [[4], [-1]]}, "input[1]", "invalid_value"),
        ({"input": [4] * 13}, "input", "context_length_exceeded"),
        ({"input": [[4], [4] * 13]}, "input[1]", "context_length_exceeded"),
        # Said of the length: what is in it is not looked at.
        ({"input": [4, *["late"] * 12]}, "input", "context_length_exceeded"),
        ({"input": ["late", "late " * 11]}, "input[1]", "context_length_exceeded"),
        ({"input": "x" * 1_000_000}, "input", "context_length_exceeded"),
        ({"input": "\ud800"}, "input", "invalid_value"),
        ({"input": ["late"] * 2049}, "input", "array_above_max_length"),
        ({"encoding_format": "bytes"}, "encoding_format", "invalid_value"),
        ({"dimensions": 4}, "dimensions", "invalid_value"),
        ({"input_type": "query"}, "input_type", "unknown_parameter"),
    ],
)
def test_what_is_wrong_is_said_in_openai_s_terms(house: House, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ParameterRejected) as caught:
        house.ask(**{"input": "late"} | fields)
    assert (caught.value.status, caught.value.param, caught.value.openai_code) == (400, param, code)
    assert str(caught.value).startswith(f"{param}: ")
    assert len(str(caught.value)) < 200


def test_the_longest_text_is_taken(house: House, network: training.Encoder) -> None:
    text = " ".join(["late"] * (encoders.MOST_TOKENS - 2))
    np.testing.assert_allclose(vectors(house.ask(input=text))[0], expected(network, text), atol=1e-6)


def test_the_dimensions_that_it_has_may_be_asked_for(house: House) -> None:
    assert vectors(house.ask(input="late", dimensions=encoders.DIMS)).shape == (1, encoders.DIMS)


def test_the_settings_may_take_fewer_tokens_and_never_more(files: Path) -> None:
    with pytest.raises(ParameterRejected, match="1 to 4 tokens"):
        House(files, max_tokens=4).ask(input="a parcel is late")
    with pytest.raises(EncoderUnusable, match="at most 12"):
        House(files, max_tokens=13)


def test_it_does_not_chat(house: House) -> None:
    with pytest.raises(ServeError) as caught:
        asyncio.run(house.backend.run("chat", {"model": BACKEND, "messages": []}))
    assert caught.value.status == 400


def test_one_that_is_unloaded_is_not_ready(house: House) -> None:
    house.backend.encoder = None
    assert not asyncio.run(house.backend.ready())
    with pytest.raises(NotReady):
        house.ask(input="late")


def test_the_data_plane_gives_the_same_vectors_and_names_the_registry_s_version(house: House) -> None:
    context = RequestContext()
    found = asyncio.run(house.plane.infer(NAME, "7", {"text": TEXTS}, context=context))
    np.testing.assert_array_equal(found.outputs["vector"], vectors(house.ask(input=TEXTS)))
    assert (found.model, found.version, context.version, context.rows) == (NAME, "7", "7", len(TEXTS))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["late", ""], "column 'text', row 1: expected a text that is not empty"),
        (["late " * 11], "column 'text', row 0: expected 1 to 12 tokens, got 13 tokens"),
        (["late", None], "row 1: expected a string, got null"),
        (["late"] * 2049, "expected 1 to 2048 rows"),
        (["x" * 10_000], "characters"),
    ],
)
def test_the_data_plane_says_which_row_is_wrong(house: House, texts: list[object], said: str) -> None:
    with pytest.raises(InputRejected) as caught:
        asyncio.run(house.plane.infer(NAME, None, {"text": texts}))
    assert said in str(caught.value)


def test_more_requests_than_the_queue_are_refused_and_those_within_are_answered(files: Path) -> None:
    house = House(files, queue=3)

    async def together() -> list[object]:
        asks: list[Awaitable[Completed]] = [house.backend.run("embeddings", {"input": "late"}) for _ in range(5)]
        return await asyncio.gather(*asks, return_exceptions=True)

    found = asyncio.run(together())
    assert [type(each) for each in found] == [Completed] * 3 + [Overloaded] * 2


def test_requests_that_come_together_get_each_their_own(house: House, network: training.Encoder) -> None:
    async def together() -> list[Completed]:
        return await asyncio.gather(*(house.backend.run("embeddings", {"input": text}) for text in TEXTS * 5))

    for text, found in zip(TEXTS * 5, asyncio.run(together()), strict=True):
        np.testing.assert_allclose(vectors(found)[0], expected(network, text), atol=1e-6)


def test_a_request_that_is_given_up_stops_after_the_run_under_way(house: House) -> None:
    ran = []
    run = house.encoder._runtime.predict

    def counted(*arguments: Any) -> Any:
        ran.append(1)
        return run(*arguments)

    house.encoder._runtime.predict = counted  # type: ignore[method-assign]

    async def given_up() -> None:
        task = asyncio.create_task(house.backend.run("embeddings", {"input": TEXTS * 500}))
        while not ran:  # noqa: ASYNC110 - the runtime's thread tells it
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert house.encoder._running == 0
        await house.encoder._coalescer.drain()

    asyncio.run(given_up())
    assert len(ran) <= 2


@pytest.mark.parametrize(
    ("context", "reason"),
    [(RequestContext(seconds=0), RequestTimeout), (RequestContext(disconnected=lambda: True), ClientGone)],
    ids=["its deadline is over", "its client is gone"],
)
def test_one_of_the_data_plane_that_nobody_waits_for_is_not_encoded(
    house: House, context: RequestContext, reason: type[ServeError]
) -> None:
    house.encoder._runtime.predict = pytest.fail  # type: ignore[method-assign,assignment]
    with pytest.raises(reason):
        asyncio.run(house.plane.infer(NAME, None, {"text": TEXTS}, context=context))


def test_one_of_the_data_plane_is_not_waited_for_beyond_its_deadline(house: House) -> None:
    held = threading.Event()
    house.encoder._runtime.predict = lambda *_: held.wait(60)  # type: ignore[method-assign,assignment]

    async def late() -> None:
        context = RequestContext()
        asked = asyncio.create_task(house.plane.infer(NAME, None, {"text": TEXTS}, context=context))
        context.shorten(0.05)
        try:
            with pytest.raises(RequestTimeout):
                await asked
        finally:
            held.set()
        await house.encoder._coalescer.drain()

    asyncio.run(late())


def test_a_version_that_goes_answers_what_it_has_first(files: Path) -> None:
    house = House(files)

    async def going() -> Completed:
        task = asyncio.create_task(house.backend.run("embeddings", {"input": TEXTS * 100}))
        await asyncio.sleep(0)
        await house.encoder.close()
        return await task

    assert len(asyncio.run(going()).document["data"]) == 400


def test_a_run_has_texts_of_like_lengths_and_few_enough_tokens() -> None:
    lengths = [300, 2, 100, 2, 100, 400]
    found = list(runs(lengths))
    assert sorted(row for run in found for row in run) == list(range(6))
    assert all(len(run) == 1 or max(lengths[row] for row in run) * len(run) <= 512 for run in found)
    assert found[0] == [1, 3, 2, 4]


@pytest.mark.parametrize("name", [GRAPH_FILE, TOKENIZER_FILE, CARD_FILE])
def test_files_that_do_not_fit_together_are_refused(files: Path, tmp_path: Path, name: str) -> None:
    for each in (GRAPH_FILE, TOKENIZER_FILE, CARD_FILE):
        (tmp_path / each).write_bytes((files / each).read_bytes())
    (tmp_path / name).write_bytes((files / CARD_FILE).read_bytes().replace(b'"dims":8', b'"dims":9'))
    from console import UserError

    with pytest.raises(UserError) as caught:
        House(tmp_path)
    assert "\n" not in str(caught.value)


def settings(routes: dict[str, list[str]]) -> Callable[[], Settings]:
    return lambda: Settings.model_validate(
        {
            "backends": {"tiny": {"kind": "onnx", "model": "registry:tiny@champion"}},
            "language_models": {
                name: {"routes": [{"backend": backend} for backend in backends]} for name, backends in routes.items()
            },
        }
    )


def test_a_name_with_no_route_but_to_an_encoder_is_a_model_and_its_memory_is_counted() -> None:
    found = settings({"vectors": ["tiny"], "mixed": ["tiny", "tiny"]})()
    assert found.encoders == {"vectors": "tiny"}
    assert found.inline_memory_bytes == 2 * 2**29


@pytest.mark.parametrize("routes", [{"a": ["tiny"], "b": ["tiny"]}, {"a": ["tiny", "tiny"]}])
def test_an_encoder_has_one_name(routes: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="expected one language model with no route but to it"):
        settings(routes)()
