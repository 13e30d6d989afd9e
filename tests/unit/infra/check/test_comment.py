"""``python -m infra comment``: one comment out of the check's and the preview's output, whatever is in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.check.comment import MOST_BYTES, CommentError, checked, comment, main, mark, verdict
from infra.check.preview import PreviewError, sections
from tests.documentation import ROOT

EXAMPLE = Path(__file__).parent / "comment"
ARGUMENTS = ["--stack", "dev", "--check", str(EXAMPLE / "check.txt"), "--preview", str(EXAMPLE / "preview.json")]

TEXTS = st.text(st.sampled_from("`~@<>-!&#\\\n\r\t ab1\x1b\x00\u2028é𝄞")) | st.text()
FRAME = re.compile(
    r"\n<details(?: open)?><summary><code>([^\n<>]*)</code></summary>\n\n(`{3,})text\n(.*?)\n\2\n\n</details>\n"
    r"|\n<p>(?:<code>[^\n<>]*</code>|Sections left out: \d+\.)</p>\n",
    re.DOTALL,
)


def fenced(body: str) -> list[tuple[str, str]]:
    """What each fence holds, by CommonMark's rule, with its title. Nothing else may be in the body but its frame."""
    head, _, rest = body.partition("</h3>\n")
    assert re.fullmatch(r"<!-- ml-training-deployment: dev -->\n<h3>dev(?:: <code>[^\n<>]*</code>)?", head)
    found = []
    end = 0
    for frame in FRAME.finditer(rest):
        assert frame.start() == end
        end = frame.end()
        if frame[2]:
            # A line with as many backticks as the fence, or more, would end it.
            assert not re.search(rf"^ {{0,3}}`{{{len(frame[2])},}}\s*$", frame[3], re.MULTILINE)
            found.append((frame[1], frame[3]))
    assert end == len(rest)
    return found


@given(st.dictionaries(TEXTS, TEXTS, max_size=5), TEXTS)
def test_nothing_gets_out_of_its_fence_and_nobody_is_called(found: dict[str, str], said: str) -> None:
    body = comment("dev", found, verdict=said)
    fenced(body)
    outside = FRAME.sub(lambda frame: frame[0] if frame[2] is None else frame[1], body)
    assert "\r" not in body
    assert "\x1b" not in body
    assert not re.search(r"@\w", re.sub(r"@\u200b", "", outside))


@given(st.dictionaries(st.text(max_size=400), st.text(max_size=50) | st.just("é" * 40_000), max_size=30), st.text())
def test_it_is_never_longer_than_github_takes(found: dict[str, str], said: str) -> None:
    assert len(comment("dev", found, verdict=said).encode()) <= MOST_BYTES


@pytest.mark.parametrize("line", ["`" * 70_000, "é" * 70_000, "a\n" * 70_000, "```\n" * 30_000, "@team\n" * 20_000])
def test_a_long_text_is_shortened_and_short_ones_stay_whole(line: str) -> None:
    body = comment("dev", {"long": line, "short": "whole", "long too": line})
    assert len(body.encode()) <= MOST_BYTES
    texts = dict(fenced(body))
    assert texts["short"] == "whole"
    assert set(texts) == {"long", "short", "long too"}


def test_the_room_is_used() -> None:
    body = comment("dev", {"long": "0123456789\n" * 10_000})
    assert MOST_BYTES - 100 < len(body.encode()) <= MOST_BYTES
    [(_, text)] = fenced(body)
    assert re.search(r"\n… and \d+ lines more: see the run$", text)


def test_too_many_sections_are_counted() -> None:
    body = comment("dev", {f"{number} " + "x" * 190: "text" for number in range(1_000)})
    assert len(body.encode()) <= MOST_BYTES
    kept = len(fenced(body))
    assert f"<p>Sections left out: {1_000 - kept}.</p>" in body


def test_a_text_stays_as_it_is_but_for_what_a_terminal_would_do() -> None:
    [(_, text)] = fenced(comment("dev", {"it": "\x1b[31mred\x1b[0m\r\n  a@b\t<b> ``` \u202eright\n"}))
    assert text == "red\n  a@b\t<b> ``` right"


def test_a_fence_is_longer_than_the_longest_run_of_backticks() -> None:
    assert "\n``````text\n" in comment("dev", {"it": "``` and `````"})


def test_a_section_without_a_text_is_a_line() -> None:
    assert comment("dev", {"nothing <b>": ""}).endswith("\n<p><code>nothing &lt;b&gt;</code></p>\n")


@pytest.mark.parametrize("stack", ["", "a b", "dev-->", "-", "é", "x" * 101])
def test_a_name_that_no_stack_has_is_refused(stack: str) -> None:
    with pytest.raises(CommentError, match="is no name of a stack"):
        comment(stack, {})


def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == mark("dev")
    [shown] = re.findall(r"^````markdown\n(.*?)^````$", (ROOT / "docs/ci.md").read_text(), re.MULTILINE | re.DOTALL)
    assert printed.strip() == shown.strip()


def test_without_a_preview_there_is_the_check_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS[:4]) == 0
    titles = [title for title, _ in fenced(capsys.readouterr().out)]
    assert [title.split()[1] for title in titles] == ["record", "estimate", "fit", "refused"]


def test_the_components_are_folded_and_the_findings_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    main(ARGUMENTS)
    printed = capsys.readouterr().out
    assert "<details><summary><code>✓ record too-dear" in printed
    assert "<details open><summary><code>✗ refused" in printed


def test_a_failed_stage_keeps_what_was_said_after_it() -> None:
    output = "▸ record dev\n✗ record dev  1.0 s\nerror: Pulumi.dev.yaml: network: no such key\n"
    assert checked(output) == {"✗ record dev  1.0 s": "error: Pulumi.dev.yaml: network: no such key"}
    assert verdict(output) == "error: Pulumi.dev.yaml: network: no such key"


def test_stages_within_stages_and_alike_lose_nothing() -> None:
    output = "first\n▸ a\n▸ b\nof b\n✓ b  1 s\n✓ a  2 s\nof a\n▸ a\n✓ a  2 s\nagain"
    assert checked(output) == {"check": "first", "▸ a": "", "✓ b  1 s": "of b", "✓ a  2 s": "of a\nagain"}
    assert verdict(" \n") == "the check said nothing"


def test_the_events_tell_of_violations_first_those_that_stop_it() -> None:
    def event(number: int, level: str) -> str:
        violation = {"message": "m\nn", "policyName": "a-rule", "enforcementLevel": level}
        return json.dumps({"sequence": number, "policyEvent": violation})

    found = sections("\n".join([event(0, "advisory"), event(1, "mandatory")]))
    assert found == {
        "preview: no changes": "",
        "policy pack: 1 advisory, 1 mandatory": "[mandatory] a-rule the stack: m n\n[advisory] a-rule the stack: m n",
    }


def test_the_one_document_has_no_violations_and_that_is_said() -> None:
    document = {
        "steps": [
            {"op": "same", "urn": "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev"},
            {"op": "replace", "urn": "urn:pulumi:dev::p::ml:aws:Storage$aws:s3/bucket:Bucket::a::b"},
        ],
        "diagnostics": [
            {"message": "no\n", "severity": "error"},
            {"message": "gone", "severity": "error", "ephemeral": True},
            {"message": "chatter", "severity": "info"},
        ],
        "changeSummary": {"same": 1, "replace": 1},
    }
    assert sections(json.dumps(document, indent=4)) == {
        "preview: 1 replace, 1 same": "replace   aws:s3/bucket:Bucket a::b",
        "policy pack: not in this output, see PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "",
        "messages: 1 error": "error the stack: no",
    }


def test_a_preview_that_printed_nothing_is_said_and_no_mistake() -> None:
    assert sections("\n") == {"preview": "it printed nothing: see the run"}


@pytest.mark.parametrize("text", ["error: no", "[]", "{}", '{"steps": 1}', '{"steps": []}\n{"sequence": 1}', "1\n2"])
def test_something_else_than_a_preview_is_one_line(text: str) -> None:
    with pytest.raises(PreviewError, match="is not what `pulumi preview --json` prints"):
        sections(text)


def test_a_file_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "dev", "--check", "nowhere.txt"]) == 2
    assert capsys.readouterr().err == "error: nowhere.txt: cannot be read (No such file or directory)\n"
