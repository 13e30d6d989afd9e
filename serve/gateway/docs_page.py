"""The page of ``/docs``: the description as one HTML file, made on the server, that needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, cast

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page's answer says of it: no script, no request, nothing but its own style."""

STYLE = """
:root{--paper:#fff;--ink:#1b1f24;--soft:#5b6572;--line:#e3e7ec;--wash:#f5f7f9;--link:#0b62c4;--get:#0f7b4f;--post:#8a4b08}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ed;--soft:#9aa5b1;--line:#2b3138;--wash:#1c2126;
--link:#6db3ff;--get:#4cc38a;--post:#f0a35e}}
*{box-sizing:border-box}html{color-scheme:light dark}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
.frame{display:grid;grid-template-columns:20rem minmax(0,52rem);gap:3rem;max-width:78rem;margin:auto;padding:0 1.5rem}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:2rem 0;font-size:.875rem}
nav ul,main>ul{list-style:none;padding:0;margin:.25rem 0 1.25rem}
nav li a{display:flex;gap:.6rem;padding:.2rem 0;color:inherit}
nav b{font-size:.75rem;letter-spacing:.05em;text-transform:uppercase;color:var(--soft)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
main{padding:2rem 0 6rem}h1{font-size:2rem;line-height:1.2;margin:0}h2{margin:3.5rem 0 .25rem;font-size:1.4rem}
h3{margin:0;font-size:1.05rem}h4{margin:1.25rem 0 .35rem;font-size:.75rem;letter-spacing:.05em;text-transform:uppercase;
color:var(--soft)}p{margin:.5rem 0}.soft{color:var(--soft)}
article{border-top:1px solid var(--line);padding:1.75rem 0;scroll-margin-top:1rem}
code,pre{font:.8125rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--wash);border:1px solid var(--line);border-radius:8px;padding:.75rem 1rem;margin:.5rem 0;
overflow:auto}
.path{display:flex;gap:.75rem;align-items:baseline;margin-top:.35rem}.path code{font-size:.9rem}
.method{font:600 .75rem/1.5 ui-monospace,Menlo,Consolas,monospace;flex:none;width:2.6rem}
.get{color:var(--get)}.post{color:var(--post)}
table{border-collapse:collapse;width:100%;font-size:.875rem}
td{border-top:1px solid var(--line);padding:.4rem .75rem .4rem 0;vertical-align:top}
tr:first-child td{border-top:0}td:first-child{width:32%;padding-right:1rem}td p{margin:0}
details{margin:.35rem 0}summary{cursor:pointer;color:var(--link);font-size:.875rem}
@media(max-width:56rem){.frame{display:block;padding:0 1rem}nav{position:static;max-height:none;padding:1.5rem 0 0}
main{padding-top:1rem}h1{font-size:1.6rem}td:first-child{width:40%}}
"""

Object = Mapping[str, Any]


def page(description: Object, base: str = "") -> bytes:
    """The page for a document of :func:`serve.gateway.openapi.description`.

    ``base`` is the address before the paths in the examples, such as ``https://ml.example``.
    """
    return f"<!doctype html>\n{''.join(_page(description, base or 'http://127.0.0.1:8000'))}\n".encode()


def _page(document: Object, base: str) -> Iterator[str]:
    info = document["info"]
    title = escape(info["title"])
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f'<title>{title}</title><style>{STYLE}</style></head><body><div class="frame">'
    operations = list(_operations(document))
    yield '<nav aria-label="Contents">'
    for tag in document["tags"]:
        yield f"<b>{escape(tag['name'])}</b><ul>"
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                target = escape(operation["operationId"])
                yield f'<li><a href="#{target}">{_method(method)}<span>{_breakable(path)}</span></a></li>'
        yield "</ul>"
    yield f'</nav><main><h1>{title}</h1><p class="soft">Version {escape(info["version"])} · '
    yield '<a href="openapi.json">openapi.json</a></p>'
    yield _prose(info["description"])
    for tag in document["tags"]:
        yield f'<h2>{escape(tag["name"])}</h2><p class="soft">{escape(tag["description"])}</p>'
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                yield from _article(document, method, path, operation, base)
    yield "</main></div></body></html>"


def _operations(document: Object) -> Iterator[tuple[str, str, Object]]:
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "delete"):
            if method in item:
                shared = item.get("parameters", [])
                yield method, path, {**item[method], "parameters": [*shared, *item[method]["parameters"]]}


def _article(document: Object, method: str, path: str, operation: Object, base: str) -> Iterator[str]:
    yield f'<article id="{escape(operation["operationId"])}"><h3>{escape(operation["summary"])}</h3>'
    yield f'<div class="path">{_method(method)}<code>{escape(path)}</code></div>'
    yield f"<p>{escape(operation['description'])}</p>" if operation["description"] else ""
    contents = operation.get("requestBody", {}).get("content", {})
    for media_type, content in contents.items() or [("", {})]:
        if not contents or "example" in content:
            yield f"<pre>{escape(_curl(method, base + path, operation, media_type, content.get('example')))}</pre>"
    yield "<h4>Parameters</h4><table>"
    for found in operation["parameters"]:
        parameter = _resolved(document, found)
        kind = f"{parameter['in']}, {_type(document, parameter['schema'])}"
        yield _row(f"<code>{escape(parameter['name'])}</code>", kind, parameter.get("description", ""))
    yield "</table>"
    for media_type, content in contents.items():
        yield f"<h4>Request · {escape(media_type)}</h4>{''.join(_fields(document, content['schema']))}"
    answer = operation["responses"]["200"]
    for media_type, content in answer["content"].items():
        yield f"<h4>Answer · {escape(media_type)}</h4>{''.join(_fields(document, content['schema']))}"
    yield "<details><summary>Headers of the answer</summary><table>"
    yield from _headers(document, answer)
    yield "</table></details>"
    yield "<details><summary>Errors</summary><table>"
    for status, found in operation["responses"].items():
        if status != "200":
            error = _resolved(document, found)
            names = ", ".join(name for name in error["headers"] if name != "x-request-id")
            yield _row(
                f"<code>{escape(status)}</code>", "", error["description"] + (f" With {names}." if names else "")
            )
    yield f"</table>{''.join(_fields(document, error['content']['application/json']['schema']))}</details></article>"


def _headers(document: Object, answer: Object) -> Iterator[str]:
    for name, found in answer["headers"].items():
        header = _resolved(document, found)
        yield _row(f"<code>{escape(name)}</code>", _type(document, header["schema"]), header["description"])


def _fields(document: Object, schema: Object) -> Iterator[str]:
    """A schema's keys as a table; of a choice each, and what is no object in a line."""
    found = _resolved(document, schema)
    if text := found.get("description"):
        yield f'<p class="soft">{escape(text)}</p>'
    choices = [choice for choice in found.get("oneOf", ()) if "properties" in choice]
    if choices:
        for choice in choices:
            summary = escape(choice.get("title", "object"))
            yield f"<details><summary>{summary}</summary>{''.join(_fields(document, choice))}</details>"
    elif "properties" in found:
        yield "<table>"
        for name, field in found["properties"].items():
            mark = "" if name in found.get("required", ()) else ", optional"
            known = _resolved(document, field)
            yield _row(f"<code>{escape(name)}</code>", _type(document, field) + mark, known.get("description", ""))
        yield "</table>"
    elif (kind := _type(document, found)) != "anything":
        yield f"<p>{escape(kind)}</p>"


def _row(name: str, kind: str, text: str) -> str:
    soft = f'<p class="soft">{escape(kind)}</p>' if kind else ""
    return f"<tr><td>{name}</td><td>{soft}<p>{escape(text)}</p></td></tr>"


def _type(document: Object, schema: Object, depth: int = 0) -> str:
    """A schema in a few words."""
    if "$ref" in schema and depth:
        return str(schema["$ref"]).rpartition("/")[2]
    found = _resolved(document, schema)
    if "const" in found:
        return json.dumps(found["const"])
    if "enum" in found:
        return " | ".join(found["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in found:
            kinds = [_type(document, option, depth + 1) for option in found[choice]]
            return " or ".join(dict.fromkeys(kinds)) if len(kinds) <= 4 else f"one of {len(kinds)} kinds"
    kind = found.get("type", "anything")
    if kind == "array" and "items" in found:
        return f"array of {_type(document, found['items'], depth + 1)}"
    return " | ".join(kind) if isinstance(kind, Sequence) and not isinstance(kind, str) else str(kind)


def _resolved(document: Object, found: Object) -> Object:
    while "$ref" in found:
        _, kind, name = str(found["$ref"]).removeprefix("#/").split("/")
        found = cast("Object", document["components"][kind][name])
    return found


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _breakable(path: str) -> str:
    """A path that a narrow column breaks before a slash."""
    return escape(path).replace("/", "<wbr>/")


def _curl(method: str, url: str, operation: Object, media_type: str, example: object) -> str:
    """The call as one command. Path parameters get the first model's values, where there is one."""
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path":
            examples = parameter["schema"].get("examples") or [f"{{{parameter['name']}}}"]
            url = url.replace(f"{{{parameter['name']}}}", examples[0])
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}'{url}'"]
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    if media_type:
        body = example if isinstance(example, str) else json.dumps(example)
        quoted = body.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        lines += [f"-H 'Content-Type: {media_type}'"]
        lines += [f"--data-binary {'$' if isinstance(example, str) else ''}'{quoted}'"]
    return " \\\n  ".join(lines)


def _prose(text: str) -> str:
    """Paragraphs and lists of the little Markdown that the description has."""
    parts = []
    for block in text.split("\n\n"):
        shown = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(block))
        if shown.startswith("- "):
            items = "".join(f"<li>{line.removeprefix('- ')}</li>" for line in shown.split("\n"))
            parts.append(f"<ul>{items}</ul>")
        else:
            parts.append(f"<p>{shown}</p>")
    return "".join(parts)
