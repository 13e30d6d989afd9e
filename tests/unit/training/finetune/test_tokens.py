"""Which tokens of a conversation are learned."""

from __future__ import annotations

import pytest

from tests.unit.training.finetune.tokenizers import CHATML, FORGETFUL, NO_SYSTEM, tokenizer
from training.errors import ConversationsRefused
from training.finetune.conversations import Conversation, Line
from training.finetune.tokens import tokenize, tokens_of


def conversation(*messages: tuple[str, str], weights: tuple[int | None, ...] = ()) -> Conversation:
    given = [{"role": role, "content": content} for role, content in messages]
    for message, weight in zip(given, weights, strict=False):
        if weight is not None:
            message["weight"] = weight  # type: ignore[assignment]
    return Conversation.model_validate({"messages": given})


def learned(given: Conversation, template: str = CHATML) -> str:
    """The text of the tokens that are learned."""
    made = tokenizer(template)
    ids, mask = tokens_of(given, made)
    return "".join(made.convert_ids_to_tokens(ids[mask]))


TWO_TURNS = (("user", "w1 w2"), ("assistant", "w3 w4"), ("user", "w5"), ("assistant", "w6."))


def test_the_answer_and_the_mark_that_ends_it_are_learned_and_nothing_else() -> None:
    assert learned(conversation(("system", "w9"), ("user", "w1 w2"), ("assistant", "w3 w4"))) == "w3 w4<|end|>"


def test_every_turn_of_the_assistant_is_learned() -> None:
    assert learned(conversation(*TWO_TURNS)) == "w3 w4<|end|>w6.<|end|>"


def test_a_turn_with_the_weight_0_is_read_and_not_learned() -> None:
    assert learned(conversation(*TWO_TURNS, weights=(None, 0))) == "w6.<|end|>"


def test_the_tokens_are_those_that_the_model_is_asked_with() -> None:
    made = tokenizer()
    given = conversation(("user", "w1 w2"), ("assistant", "w3"))
    prompt = made.apply_chat_template(given.texts()[:1], add_generation_prompt=True, tokenize=True)["input_ids"]
    ids, mask = tokens_of(given, made)
    assert ids[: len(prompt)].tolist() == list(prompt)
    assert mask.tolist().index(True) == len(prompt)


def test_a_template_that_writes_earlier_answers_anew_is_refused() -> None:
    assert learned(conversation(*TWO_TURNS[:2]), FORGETFUL) == "w3 w4<|end|>"
    with pytest.raises(
        ConversationsRefused, match=r"messages\.1: the model's chat template writes this turn otherwise"
    ):
        learned(conversation(*TWO_TURNS), FORGETFUL)


def test_what_the_template_does_not_take_is_refused_with_its_line_and_reason() -> None:
    given = conversation(("system", "w9"), ("user", "w1"), ("assistant", "w2"))
    with pytest.raises(ConversationsRefused, match="line 7: the model's chat template can't write it: no system"):
        tokenize([Line(7, given)], tokenizer(NO_SYSTEM), 100)


class TestCut:
    SHORT = Line(1, conversation(("user", "w1"), ("assistant", "w2")))
    LONG = Line(2, conversation(("user", "w1"), ("assistant", " ".join(f"w{number}" for number in range(40)))))
    UNLEARNABLE = Line(3, conversation(("user", " ".join(f"w{number}" for number in range(40))), ("assistant", "w2")))

    def test_what_fits_is_whole(self) -> None:
        tokens, cuts = tokenize([self.SHORT], tokenizer(), 100)
        assert (len(tokens), cuts.cut, cuts.learned_lost, cuts.unlearnable) == (1, 0, 0, [])
        assert cuts.learned == 2

    def test_what_is_cut_and_what_is_left_out_is_counted(self) -> None:
        tokens, cuts = tokenize([self.SHORT, self.LONG, self.UNLEARNABLE], tokenizer(), 20)
        assert len(tokens) == cuts.conversations == 2
        assert len(tokens[1][0]) == 20
        assert cuts.cut == 2
        assert cuts.unlearnable == [3]
        # 40 words, 39 spaces and the mark, of which the first 20 tokens have 13; and the word and the mark left out.
        assert cuts.learned_lost == (80 - 13) + 2
        assert cuts.learned == 2 + 13
        assert str(cuts) == (
            "2 conversations, 15 tokens to learn; 2 cut, which lost 69 tokens to learn; "
            "1 left out, with none left (lines 3)"
        )

    def test_nothing_left_at_all_is_refused(self) -> None:
        with pytest.raises(ConversationsRefused, match="no conversation has anything to learn in its first 20 tokens"):
            tokenize([self.UNLEARNABLE], tokenizer(), 20)
