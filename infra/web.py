"""What this project asks of public web APIs: bounded in time and size, each failure one line.

Errors::

    UserError
    └── WebError    the site can't be reached, refuses, or doesn't answer in the format that is documented
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import quote, urlsplit

from console import UserError, one_line

SECONDS = 60.0
"""For a connection, and for each read from it."""

LARGEST_ANSWER = 32 * 2**20
LARGEST_LINE = 2**20
MOST_PAGES = 100
SHOWN = 200
TOO_MANY_REQUESTS = 429


class WebError(UserError):
    """A site can't be reached, refuses, or says what can't be understood."""


@contextmanager
def opened(url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Iterator[IO[bytes]]:
    """The answer to a request, to be read within the block; one with ``body`` is a POST of JSON.

    Raises:
        WebError: there is none, or it is an error.
    """
    site = _netloc(url)
    data = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"content-type": "application/json"}
    quoted = quote(url, safe="%/:=&?$~#+!,;'@()*[]")
    request = urllib.request.Request(quoted, data, kind)  # noqa: S310  the scheme was checked
    for name, value in (headers or {}).items():
        # One of them may be a token, which goes nowhere that the site sends on to.
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            raise WebError(_refused(site, error)) from error
    except urllib.error.URLError as error:
        raise WebError(f"{site} can't be reached: {one_line(str(error.reason))}") from error
    except (TimeoutError, OSError, HTTPException) as error:
        raise WebError(f"{site} stopped answering: {one_line(str(error)) or type(error).__name__}") from error


def answered(url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON object.

    Raises:
        WebError: there is none, or it is too large.
    """
    with opened(url, body, headers) as answer:
        text = answer.read(LARGEST_ANSWER + 1)
    site = urlsplit(url).netloc
    if len(text) > LARGEST_ANSWER:
        raise WebError(f"{site} answers with more than {LARGEST_ANSWER // 2**20} MiB")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WebError(f"{site} does not answer in JSON") from error
    if not isinstance(found, dict):
        raise WebError(f"{site} does not answer with a JSON object")
    return found


def pages(
    url: str,
    following: Callable[[Mapping[str, Any]], Any],
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """An answer, and each that the one before it leads to.

    ``following``: a page's link to the next; it is asked after the page was yielded, so whoever reads may refuse it.

    Raises:
        WebError: one of them is none, is on another site, or there are too many.
    """
    page = url
    for _ in range(MOST_PAGES):
        found = answered(page, body, headers)
        yield found
        page = str(following(found) or "")
        if not page:
            return
        if not same_site(page, url):
            raise WebError(f"{urlsplit(url).netloc}: the next page is on another site: {page[:SHOWN]}")
    raise WebError(f"{urlsplit(url).netloc} answers with more than {MOST_PAGES} pages")


def lines(answer: IO[bytes], most: int) -> Iterator[str]:
    """The lines of an answer, which is too large to keep.

    Raises:
        WebError: there are more than ``most`` bytes, or they are no UTF-8.
    """
    size = 0
    while line := answer.readline(LARGEST_LINE):
        size += len(line)
        if size > most:
            raise WebError(f"a file of more than {most // 2**20:,} MiB")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise WebError("a file that is not UTF-8") from error


def same_site(url: str, other: str) -> bool:
    """Whether what one page of an answer says of the next leads to the same place: a token goes nowhere else."""
    return _site(url) == _site(other)


def _netloc(url: str) -> str:
    """What an error calls the site.

    Raises:
        WebError: it is no address of one.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise WebError(f"{url}: no address: {one_line(str(error))}") from error
    if parts.scheme not in ("http", "https"):
        raise WebError(f"{url}: expected an address that begins with https://")
    return parts.netloc


def _site(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        # The text itself, so that it is the site of nothing else.
        return url, None, None


def _refused(site: str, error: urllib.error.HTTPError) -> str:
    if error.code == TOO_MANY_REQUESTS:
        wait = error.headers.get("Retry-After", "")
        return f"{site} was asked too often: again in {wait} s" if wait else f"{site} was asked too often"
    try:
        said = one_line(error.read(LARGEST_LINE).decode(errors="replace"))[:SHOWN]
    except (OSError, HTTPException):
        said = ""
    return f"{site} answers {error.code}: {said or error.reason}"
