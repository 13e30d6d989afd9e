"""The description of OpenAI's API, in its main fields: OpenAI's own reference has the rest."""

from __future__ import annotations

from serve.gateway.openai.request import HIGHEST, LONGEST, LONGEST_NAME
from serve.gateway.operations import (
    MODEL_HEADERS,
    TEXT,
    WHOLE,
    Operation,
    Protocol,
    Schema,
    array,
    record,
    reference,
)
from training.prompts import ADDRESS

JSON = "application/json"
EVENTS = "text/event-stream"
REFERENCE = "https://platform.openai.com/docs/api-reference"
BACKENDS = (404, 413, 415, 502, 504)

MODEL = TEXT | {
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "description": "One of those that GET /v1/models lists.",
}
NULLABLE_WHOLE: Schema = {"type": ["integer", "null"], "minimum": 0}
STREAM: Schema = {"type": ["boolean", "null"], "description": "Whether the answer comes as it is made, as events."}
STREAM_OPTIONS: Schema = {
    "type": ["object", "null"],
    "properties": {"include_usage": {"type": ["boolean", "null"]}},
    "description": "With stream alone. include_usage: what the answer took comes in the last chunk.",
}
STOP: Schema = {"type": ["string", "array", "null"], "description": "Where the answer ends."}
CHAT, COMPLETIONS, EMBEDDINGS = LONGEST["chat"], LONGEST["completions"], LONGEST["embeddings"]
PROMPT: Schema = {
    "type": ["string", "null"],
    "pattern": f"^{ADDRESS.pattern}$",
    "description": "NAME@ALIAS or NAME/VERSION of a prompt of the registry: its messages come before the request's "
    "own, which may be none. Not of OpenAI's API: its client sends it by extra_body.",
}
VARIABLES: Schema = {
    "type": ["object", "null"],
    "maxProperties": CHAT["variables"],
    "additionalProperties": {"type": "string"},
    "description": "What the prompt's variables stand for: each of them, and no other.",
}
METADATA: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {"type": "string"},
    "description": "prompt and prompt_version, where the request was filled from a prompt; of a stream, in its first "
    "chunk.",
}
USAGE: Schema = {"type": "object", "description": "Tokens: prompt_tokens, completion_tokens, total_tokens."}
SENT = TEXT | {"description": "Lines `data: JSON`, a chunk each, and at the end `data: [DONE]`."}


def _open(required: dict[str, Schema], optional: dict[str, Schema] | None = None, text: str = "") -> Schema:
    """An object with these keys and any others."""
    return record(required, optional, description=text) | {"additionalProperties": True}


SCHEMAS: dict[str, Schema] = {
    "ChatRequest": _open(
        {"model": MODEL, "messages": array({"type": "object"}, maxItems=CHAT["messages"])},
        {
            "max_completion_tokens": NULLABLE_WHOLE,
            "temperature": {"type": ["number", "null"]},
            "stop": STOP | {"maxItems": CHAT["stop"]},
            "n": NULLABLE_WHOLE | {"maximum": HIGHEST["chat"]["n"]},
            "tools": {"type": ["array", "null"], "maxItems": CHAT["tools"]},
            "response_format": {"type": ["object", "null"]},
            "stream": STREAM,
            "stream_options": STREAM_OPTIONS,
            "prompt": PROMPT,
            "variables": VARIABLES,
        },
        f"{REFERENCE}/chat/create",
    ),
    "ChatAnswer": _open(
        {"id": TEXT, "object": TEXT, "created": WHOLE, "model": TEXT, "choices": array({"type": "object"})},
        {"usage": USAGE, "metadata": METADATA},
        "The message of each choice, why it ended, and what it took.",
    ),
    "CompletionsRequest": _open(
        {"model": MODEL},
        {
            "prompt": {"description": f"A text, or its tokens; or up to {COMPLETIONS['prompt']} of them."},
            "max_tokens": NULLABLE_WHOLE,
            "stop": STOP | {"maxItems": COMPLETIONS["stop"]},
            "n": NULLABLE_WHOLE | {"maximum": HIGHEST["completions"]["n"]},
            "stream": STREAM,
            "stream_options": STREAM_OPTIONS,
        },
        f"{REFERENCE}/completions/create",
    ),
    "EmbeddingsRequest": _open(
        {
            "model": MODEL,
            "input": {"description": f"A text, or its tokens; or up to {EMBEDDINGS['input']} of them."},
        },
        {"encoding_format": {"enum": ["float", "base64"]}, "dimensions": NULLABLE_WHOLE},
        f"{REFERENCE}/embeddings/create",
    ),
    "EmbeddingsAnswer": _open(
        {"object": TEXT, "model": TEXT, "data": array({"type": "object"})}, {"usage": USAGE}, "An embedding a text."
    ),
    "LanguageModel": record({"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT}),
    "LanguageModels": record({"object": {"const": "list"}, "data": array(reference("LanguageModel"))}),
    "OpenAIError": record(
        {
            "error": record(
                {
                    "message": TEXT | {"description": "What is wrong."},
                    "type": TEXT | {"description": "Such as invalid_request_error."},
                    "param": {"type": ["string", "null"], "description": "The parameter that it speaks of."},
                    "code": {"type": ["string", "null"], "description": "Such as model_not_found."},
                }
            )
        },
        description="An error in OpenAI's shape.",
    ),
}

PROTOCOL = Protocol(
    title="OpenAI's API",
    description="Language models, as OpenAI's clients call them. The main fields are here; the others, and what each "
    f"means, are in OpenAI's reference, and which of them a model takes is for its backend to say: {REFERENCE}",
    error="OpenAIError",
    schemas=SCHEMAS,
    operations={
        "GET /v1/models": Operation(
            "Which language models there are", "Those that the key may use.", {JSON: reference("LanguageModels")}
        ),
        "GET /v1/models/{model}": Operation(
            "Is there this language model", "Its name alone.", {JSON: reference("LanguageModel")}, errors=(404,)
        ),
        "POST /v1/chat/completions": Operation(
            "Continue a conversation",
            "Whole, or with `stream` as it is made. An error after the first chunk is an event of its own, and the "
            "last one. Whoever closes the connection stops the work.",
            {JSON: reference("ChatAnswer"), EVENTS: SENT},
            {JSON: reference("ChatRequest")},
            {JSON: {"model": "small", "messages": [{"role": "user", "content": "What is a parcel?"}]}},
            answer_headers=(*MODEL_HEADERS, "prompt-name", "prompt-version"),
            errors=BACKENDS,
        ),
        "POST /v1/completions": Operation(
            "Continue a text",
            "As a conversation, without its roles.",
            {JSON: reference("ChatAnswer"), EVENTS: SENT},
            {JSON: reference("CompletionsRequest")},
            {JSON: {"model": "small", "prompt": "A parcel is", "max_tokens": 16}},
            answer_headers=MODEL_HEADERS,
            errors=BACKENDS,
        ),
        "POST /v1/embeddings": Operation(
            "Texts as vectors",
            "One vector a text, in their order.",
            {JSON: reference("EmbeddingsAnswer")},
            {JSON: reference("EmbeddingsRequest")},
            {JSON: {"model": "small-embeddings", "input": ["a parcel", "a letter"]}},
            answer_headers=MODEL_HEADERS,
            errors=BACKENDS,
        ),
    },
)
