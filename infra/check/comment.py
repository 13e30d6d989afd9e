"""``python -m infra comment``: what the check and the preview said, as one comment on a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from console import Arguments, UserError, one_line, run, say
from infra.check import preview

MOST_BYTES = 65_536
"""GitHub takes as many characters. In bytes, for the comment also goes through a variable of 128 KiB in base64."""

LONGEST_TITLE = 200
LONGEST_RUN = 16
"""Of backticks, so that a fence is longer than every run in its text and still short."""

STACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
STAGE = re.compile(r"([▸✓✗]) (.*)")
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Colours, control characters, and those that turn the direction of writing."""
LINE_END = re.compile(r"\r\n|[\r\u2028\u2029]")

FOLDED = ("▸ record ", "✓ record ")
"""How a section begins that is closed until somebody opens it: the components are long, and rarely what is asked."""


class CommentError(UserError):
    """The comment can't be made of what was given."""


def main(argv: Sequence[str]) -> int:
    return run(lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    parser = Arguments(prog="python -m infra comment", description=__doc__)
    parser.add_argument("--stack", required=True, help="its name is the comment's mark, by which it is found again")
    parser.add_argument("--check", type=Path, required=True, metavar="FILE", help="what python -m infra check printed")
    parser.add_argument("--preview", type=Path, metavar="FILE", help="what pulumi preview --json printed")
    given = parser.parse_args(list(argv))
    output = _text(given.check)
    planned = {} if given.preview is None else preview.sections(_text(given.preview), str(given.preview))
    sections = planned | checked(output)
    folded = [title for title in sections if title.startswith(FOLDED)]
    say(comment(given.stack, sections, verdict=verdict(output), folded=folded).removesuffix("\n"))
    return 0


def comment(stack: str, sections: Mapping[str, str], *, verdict: str = "", folded: Collection[str] = ()) -> str:
    """Markdown of at most :data:`MOST_BYTES`, whose first line is the stack's mark.

    ``sections``: title → plain text. Nothing in a text or a title is read as Markdown or HTML, or calls somebody.
    ``folded``: titles of the sections that are closed at first.

    Raises:
        CommentError: no stack has such a name.
    """
    if not STACK.fullmatch(stack):
        raise CommentError(f"--stack {stack!r}: is no name of a stack")
    head = (
        f"{mark(stack)}\n<h3>{_inline(stack)}{f': <code>{_inline(verdict)}</code>' if verdict.strip() else ''}</h3>\n"
    )
    left_out = "\n<p>Sections left out: {}.</p>\n"
    texts = {title: _plain(text) for title, text in sections.items()}
    frames = {title: _section(title, "", texts[title], title not in folded) for title in sections}
    room = MOST_BYTES - _size(head) - _size(left_out) - len(str(len(sections)))
    kept: list[str] = []
    for title, frame in frames.items():
        if _size(frame) > room:
            break
        room -= _size(frame)
        kept.append(title)
    cap = _cap([_size(texts[title]) for title in kept], room)
    parts = [_section(title, _shortened(texts[title], cap), texts[title], title not in folded) for title in kept]
    missing = len(sections) - len(kept)
    return head + "".join(parts) + (left_out.format(missing) if missing else "")


def mark(stack: str) -> str:
    """The comment's first line: of the same stack, there is one comment on a pull request."""
    return f"<!-- ml-training-deployment: {stack} -->"


def checked(output: str) -> dict[str, str]:
    """What the check printed, by its stages: closing line (or the opening one, where it never closed) → its lines."""
    found: list[tuple[str, list[str]]] = []
    for line in _plain(output).splitlines():
        stage = STAGE.fullmatch(line)
        if stage is None:
            if not found:
                found.append(("check", []))
            found[-1][1].append(line)
        elif stage[1] != "▸" and found and stage[2].startswith(found[-1][0].removeprefix("▸ ")):
            found[-1] = (line, found[-1][1])
        else:
            found.append((line, []))
    sections: dict[str, str] = {}
    for title, lines in found:
        sections[title] = "\n".join([*([sections[title]] if title in sections else []), *lines])
    return sections


def verdict(output: str) -> str:
    """The last line, by which the check says how it ended."""
    lines = [line for line in _plain(output).splitlines() if line.strip()]
    return lines[-1] if lines else "the check said nothing"


def _section(title: str, text: str, whole: str, unfolded: bool) -> str:
    """``whole``: the text before it was shortened, whose backticks decide the fence."""
    summary = f"<summary><code>{_inline(title)}</code></summary>"
    if not whole:
        return f"\n<p><code>{_inline(title)}</code></p>\n"
    fence = "`" * max(3, 1 + max((len(each) for each in re.findall("`+", whole)), default=0))
    return f"\n<details{' open' if unfolded else ''}>{summary}\n\n{fence}text\n{text}\n{fence}\n\n</details>\n"


def _inline(text: str) -> str:
    """One line of HTML that shows the text. A mention counts after HTML is read, so it needs more than an entity."""
    line = one_line(_plain(text))
    short = line if len(line) <= LONGEST_TITLE else f"{line[:LONGEST_TITLE]}…"
    return html.escape(short.replace("@", "@\u200b"))


def _plain(text: str) -> str:
    """Without what a terminal would do, and with no run of backticks that would need a fence of its length."""
    lines = TERMINAL.sub("", LINE_END.sub("\n", text))
    clean = lines.encode(errors="replace").decode().strip("\n")
    return re.sub(f"`{{{LONGEST_RUN + 1},}}", "`" * LONGEST_RUN + "…", clean)


def _size(text: str) -> int:
    return len(text.encode())


def _cap(sizes: Sequence[int], room: int) -> int:
    """The most that each may have so that all fit: the short ones stay whole, the long ones share the rest."""
    left = room
    for position, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return max(sizes, default=0)


def _shortened(text: str, most: int) -> str:
    """The first lines that fit, and how many do not."""
    if _size(text) <= most:
        return text
    lines = text.splitlines()
    room = most - _size(f"… and {len(lines)} lines more: see the run")
    kept: list[str] = []
    for line in lines:
        room -= _size(line) + 1
        if room < 0:
            break
        kept.append(line)
    rest = f"… and {len(lines) - len(kept)} lines more: see the run"
    return "\n".join([*kept, rest]).encode()[: max(most, 0)].decode(errors="ignore")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CommentError(f"{file}: cannot be read ({error.strerror})") from error
