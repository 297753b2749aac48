"""Mitigations: prompts differ in one respect; cleaning removes damage and keeps the words."""

from __future__ import annotations

import unicodedata

import emoji
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.items import facts, languages, messy_items, multilingual_items
from lowland.stress.questions.mitigations import MITIGATIONS, prepared, system_prompt
from lowland.text.corruptions import corrupt

QUESTIONS = [(item.condition, item.question) for item in [*messy_items(), *multilingual_items()]]
ZWJ, ZWNJ = "\u200d", "\u200c"


# --- prompts ---


@pytest.mark.parametrize("eval", ["messy", "multilingual"])
def test_a_mitigated_prompt_begins_with_the_base_prompt(eval: str) -> None:
    base = system_prompt(eval, "none", "Hindi")
    for name in MITIGATIONS[eval]:
        assert system_prompt(eval, name, "Hindi").startswith(base)


def test_only_the_prompt_or_only_the_input_changes() -> None:
    base = system_prompt("messy", "none")
    changed = {name: system_prompt("messy", name) != base for name in MITIGATIONS["messy"]}
    assert changed == {"none": False, "prompt": True, "normalise": False, "both": True}
    dirty = "What  is the c\u0430pital \U0001f600 ?"
    cleaned = {name: prepared(dirty, name) != dirty for name in MITIGATIONS["messy"]}
    assert cleaned == {"none": False, "prompt": False, "normalise": True, "both": True}
    assert prepared(dirty, "pin") == dirty


def test_the_pin_names_the_language_and_offers_unsure() -> None:
    for language in languages().values():
        prompt = system_prompt("multilingual", "pin", language.target)
        assert f"only in {language.target}" in prompt
        assert "UNSURE" in prompt
        assert "dialect" in prompt


def test_only_the_pin_names_the_target_language() -> None:
    assert system_prompt("multilingual", "none", "Hindi") == system_prompt("multilingual", "none", "English")


@pytest.mark.parametrize(
    ("eval", "mitigation", "message"),
    [
        ("messy", "normalize", "did you mean 'normalise'"),
        ("messy", "pin", "unknown mitigation of messy 'pin'"),
        ("mesy", "none", "did you mean 'messy'"),
    ],
)
def test_unknown_names_are_mistakes(eval: str, mitigation: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        system_prompt(eval, mitigation)


def test_preparing_with_an_unknown_mitigation_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="did you mean 'normalise'"):
        prepared("Who?", "normalize")


# --- cleaning: removed characters ---


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Ｗｈａｔ is ﬁre?", "What is fire?"),
        ("Wh\u0430t is the \u0441\u0430pital of Peru?", "What is the capital of Peru?"),
        ("Wh\u200bat\ufeff is s\u00adnow?", "What is snow?"),
        (f"Wh{ZWJ}at is sn{ZWNJ}ow?", "What is snow?"),
        ("Who 😀 wrote 👩🏽‍🔬🇫🇷 it ❤️?", "Who wrote it?"),
        ("1️⃣0️⃣ plus #️⃣", "10 plus #"),
        ("  Who \t wrote\u00a0it  ? !", "Who wrote it?!"),
        ("Who??? wrote,, it!!", "Who? wrote, it!"),
        ("1\u200b\ufe0f\u20e3 plus", "1 plus"),  # needs a second pass: an invisible character hid the keycap
        ("\u0441\u0301evapi", "ćevapi"),  # needs a second pass: the look-alike hid a character that composes
        ("", ""),
        ("😀", ""),
    ],
)
def test_damage_is_removed(dirty: str, clean: str) -> None:
    assert prepared(dirty, "normalise") == clean == prepared(dirty, "both")


def test_confusables_are_undone_on_every_question() -> None:
    for item in messy_items():
        dirty = corrupt(item.question, "confusables", "heavy", seed=1).text
        assert prepared(dirty, "normalise") == prepared(item.question, "normalise"), item.id


def test_no_emoji_is_left_on_any_question() -> None:
    for item in messy_items():
        dirty = corrupt(item.question, "emoji", "heavy", seed=1).text
        assert not emoji.emoji_list(prepared(dirty, "normalise")), item.id


# --- cleaning: preserved characters ---


@pytest.mark.parametrize(("condition", "question"), QUESTIONS)
def test_clean_questions_stay_as_they_are(condition: str, question: str) -> None:
    assert prepared(question, "normalise") == unicodedata.normalize("NFC", question)


def test_clean_facts_stay_as_they_are() -> None:
    for fact in facts():
        for text in (fact.fact, fact.question):
            assert prepared(text, "normalise") == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text",
    [
        "10² m and 2³",
        "1½ cups",
        "Copyright © 2020 ↔ ™".replace(" ™", ""),
        "naïve café Zürich",
        "Кто написал «Войну и мир»?",
        "Ποιος έγραψε την Οδύσσεια;",
        "क्षत्रिय ज्ञान श्रृंखला द्वन्द्व ड़ ढ़",
        f"क्{ZWJ}ष और क्{ZWNJ}ष और र्{ZWJ}",
        "हिन्दी में पूछा: २०२४?",
        f"می{ZWNJ}خواهم",
        "भारत की राजधानी kya hai?",
        "Is 0.5 or .5 more: 3:2?",
        "Who said ... so?",
    ],
)
def test_characters_with_meaning_stay(text: str) -> None:
    assert prepared(text, "normalise") == unicodedata.normalize("NFC", text)


def test_no_mark_of_devanagari_is_removed() -> None:
    """Covers every sign of the block after a letter, and all conjuncts of two consonants, with joiners or not."""
    consonants = [chr(code) for code in range(0x915, 0x93A)]
    marks = [chr(code) for code in range(0x900, 0x980) if unicodedata.category(chr(code))[0] == "M"]
    for text in [f"क{mark}ल" for mark in marks] + [f"ल{mark} क" for mark in marks]:
        assert prepared(text, "normalise") == unicodedata.normalize("NFC", text)
    for joiner in ("", ZWJ, ZWNJ):
        for first in consonants:
            text = " ".join(f"{first}\u094d{joiner}{other}ा" for other in consonants)
            assert prepared(text, "normalise") == unicodedata.normalize("NFC", text)


def test_a_joiner_that_joins_nothing_is_removed() -> None:
    assert prepared(f"{ZWJ}कल{ZWNJ} {ZWJ}है{ZWJ}?", "normalise") == "कल है?"


PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [ZWJ, ZWNJ, "\ufe0f", "\u20e3", "1", "😀", "👩", "🔬", "🇫", "🇷", "©", "™", "\u0430", "f", "Ａ", "क", "्", "ष",
         "ड़", "²", "½", " ", "?", "!", "\u0336", "\u0301", "e", "\u200b", "م"]
    ),
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
@example("1\u200b\u20e3")
@example("\u0441\u0301")
@example("\U0001f1eb\u200b\U0001f1f7")
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = prepared(text, "normalise")
    assert prepared(once, "normalise") == once


@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_cleaned_text_has_no_damage_left(text: str) -> None:
    once = prepared(text, "normalise")
    assert once == " ".join(once.split())
    assert not set(once) & set("\u200b\ufeff\u00ad\ufe0f\ufe0e")
    assert all(len(match["emoji"]) == 1 and match["emoji"] < "\u2300" for match in emoji.emoji_list(once))
