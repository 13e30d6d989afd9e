"""A tool, conversations that call it, and the small model with a template that knows of tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.serve.llm import vllm_on_ray

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
FORCED = {"type": "function", "function": {"name": "weather"}}

TEMPLATE = """
{%- if messages[0]['role'] != 'system' %}<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face
{%- if tools %}
You may call these tools:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}
{%- for call in message['tool_calls'] %}<tool_call>
{"name": "{{ call['function']['name'] }}", "arguments": {{ call['function']['arguments'] | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""The model's own, with a place for tools and their calls."""


def asked_for(city: str, weather: str | None = None) -> list[dict[str, Any]]:
    """A question, and how it was answered by a call."""
    question = {"role": "user", "content": f"What is the weather in {city}?"}
    if weather is None:
        return [question]
    call = {"name": "weather", "arguments": json.dumps({"city": city})}
    return [
        question,
        {"role": "assistant", "content": None, "tool_calls": [{"id": city, "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": city, "content": weather},
        {"role": "assistant", "content": f"It is {weather}."},
    ]


PARIS = asked_for("Paris")
LEARNT = asked_for("Rome", "sunny")
"""What so small a model needs to call a tool by itself."""


def model(folder: Path) -> Path:
    """The small model, by this template."""
    for file in vllm_on_ray.model().iterdir():
        (folder / file.name).symlink_to(file)
    template = folder / "chat_template.jinja"
    template.unlink()
    template.write_text(TEMPLATE)
    return folder
