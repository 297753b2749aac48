"""Rules for the kinds of error of a wrong reply: ordered tables of a name, its meaning and a test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import emoji
from rapidfuzz import fuzz
from rapidfuzz.distance import Prefix

from lowland.items import Item, Language
from lowland.replies.answers import STOP_WORDS, match
from lowland.replies.language import UNDECIDED, language_words, script_of
from lowland.replies.numbers import numbers_in
from lowland.replies.wording import listed, plain, words_of

SAME_LANGUAGE = (frozenset({"hindi", "hinglish"}),)
"""Sets of labels that name one language in different scripts."""
MIN_SIMILARITY = 60
"""Smallest token sort ratio (0 to 100) of questions in similar words."""


@dataclass(frozen=True)
class Case:
    """A wrong reply with its context.

    Attributes:
        item: the clean question with its gold.
        prompt: the question as it was sent.
        reply: reply of the model.
        condition: the corruption, or the language condition.
        others: the other items of the test.
        language: language of the condition; None in the messy test.
        label: the reply's label by `language_of`; "" in the messy test.
        scripts: scripts in which the condition's language is written, as `script_of` names them.
    """

    item: Item
    prompt: str
    reply: str
    condition: str = "clean"
    others: Sequence[Item] = ()
    language: Language | None = None
    label: str = ""
    scripts: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Rule:
    """A kind of error.

    Attributes:
        name: name of the kind.
        about: meaning of the kind, in one line.
        holds: test of whether a wrong reply is of this kind.
    """

    name: str
    about: str
    holds: Callable[[Case], bool]


MOJIBAKE = re.compile(
    r"\ufffd|ï¿½|â€|Ã[^\sA-Z]|Ã\w|Â[^\w\s]|Ð[^\w\s]|à[¤¥]|\\u[0-9a-fA-F]{4}|&#x?[0-9a-fA-F]+;"
)
NOT_UNDERSTOOD = re.compile(
    r"rephras|re-?state your|restate|clarif|elaborate|what (?:do|did) you mean|what you mean"
    r"|what (?:are you|you are|you're) asking|did you mean|what would you like|send it again"
    r"|(?:n[o'’]t|cannot|could ?n.t|unable to) (?:\w+ )?(?:understand|parse|decipher|interpret|make sense|read)"
    r"|unreadable|garbled|gibberish|scrambled|jumbled|typos?\b|misspell|incomplete|more (?:context|details)"
    r"|unclear|not clear|refers? to\b.*\?|समझ नहीं|स्पष्ट करें|samajh nahin?",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"(?:n[o'’]t|cannot|won[’']?t|unable to)(?: be)?(?: able to)?(?: \w+)?"
    r" (?:help|assist|answer|provide|respond|comply|say)"
    r"|(?:do not|don[’']?t) (?:know|have)\b|not know|no (?:answer|idea|information)\b|as an ai\b"
    r"|^\W*(?:unknown|n/?a|none)\W*$|not sure\b|no data"
    r"|(?:नहीं|नही) (?:पता|मालूम|जानत|दे सक|बता सक)|(?:पता|मालूम|जानकारी|ज्ञात|उत्तर|जवाब) नहीं|जानकारी .*नहीं"
    r"|nah?in? (?:pata|maloom|malum|jaant|de sak|bata sak)"
    r"|(?:pata|malum|maloom|jaankari|jankari|jawab) nah?in?",
    re.IGNORECASE,
)


def _garbled(case: Case) -> bool:
    """Whether the reply has replacement or control characters, escapes, or UTF-8 read in another encoding."""
    if MOJIBAKE.search(case.reply):
        return True
    if any(
        unicodedata.category(character) in ("Cc", "Cs", "Co") and character not in "\t\n\r"
        for character in case.reply
    ):
        return True
    return any(_is_misread(run) for run in re.findall(r"[^\x00-\x7f]{2,}", case.reply))


def _is_misread(run: str) -> bool:
    """Whether the characters are UTF-8 that was read as Windows-1252."""
    try:
        return run.encode("cp1252").decode("utf-8") != run
    except UnicodeError:
        return False


def _about_emoji(case: Case) -> bool:
    """Whether the prompt has emoji, and the reply speaks of them, consists of them, repeats or names one."""
    in_prompt = {match["emoji"] for match in emoji.emoji_list(case.prompt)}
    if not in_prompt:
        return False
    if re.search(r"emoji|emoticon|smile?y|इमोजी", case.reply, re.IGNORECASE):
        return True
    in_reply = {match["emoji"] for match in emoji.emoji_list(case.reply)}
    words = {word.fold for word in words_of(plain(case.reply))} - STOP_WORDS
    if in_reply and (not words or in_reply & in_prompt):
        return True
    names = " ".join(emoji.demojize(sign, delimiters=(" ", " ")) for sign in in_prompt).replace("_", " ")
    return bool(words) and words <= set(names.casefold().split())


def _not_understood(case: Case) -> bool:
    return NOT_UNDERSTOOD.search(case.reply) is not None


def _says_nothing(case: Case) -> bool:
    """Whether the reply has neither a letter nor a digit, or refuses to answer."""
    has_content = any(character.isalnum() for character in case.reply)
    return not has_content or REFUSAL.search(case.reply) is not None


# Answers to another question


def _another_entity(case: Case) -> bool:
    """Whether the reply answers another item of the same kind and topic that is asked in similar words.

    A bare number does not prove that: the reply must also use a word that only the other question has.
    """
    return any(
        other.kind == case.item.kind
        and other.topic == case.item.topic
        and _are_similar(other.question, case.item.question)
        and _answers(case, other)
        for other in case.others
    )


def _answers(case: Case, other: Item) -> bool:
    """Whether the reply answers another item's question."""
    if not match(case.reply, other.answers, other.kind, other.question).right:
        return False
    if other.kind not in ("number", "year"):
        return True
    only_in_other = _stems(other.question) - _stems(case.item.question)
    return bool(only_in_other & _stems(case.reply))


def _are_similar(question: str, other: str) -> bool:
    """Whether two questions have the same first two words, or similar words."""
    words, other_words = (text.casefold().split() for text in (question, other))
    return words[:2] == other_words[:2] or fuzz.token_sort_ratio(question, other) >= MIN_SIMILARITY


def _drifts(case: Case) -> bool:
    """Whether the reply answers another question, has no answer of the kind asked for, or is about something else."""
    words = words_of(plain(case.reply))
    numbers = numbers_in(plain(case.reply))
    if any(_answers(case, other) for other in case.others if other.kind not in ("number", "year")):
        return True
    asks_number = case.item.kind in ("number", "year")
    if asks_number and not numbers:
        return True
    if not asks_number and numbers and all(word.fold.isdigit() for word in words):
        return True
    in_question = _stems(case.item.question)
    return len(words) >= 6 and len(in_question & _stems(case.reply)) < len(in_question) / 2


def _stems(text: str) -> set[str]:
    """Return the first five letters of each content word."""
    return {word.fold[:5] for word in words_of(plain(text))} - {word[:5] for word in STOP_WORDS | ASKING}


ASKING = listed("what which who whom whose when where why how many much did does do has have been")


# Wrong languages and terms


def _wrong_script(case: Case) -> bool:
    """Whether a word mixes scripts, or the reply is in the right language but in another script.

    An undecided reply counts, too, if none of its words is in a script of the language.
    """
    words = language_words(case.reply)
    if any(len({script_of(letter) for letter in word if letter.isalpha()}) > 1 for word in words):
        return True
    assert case.language is not None
    if any(case.label in labels and labels & set(case.language.accepts) for labels in SAME_LANGUAGE):
        return case.label not in case.language.accepts
    return (
        case.label == UNDECIDED and bool(words) and not any(script_of(word) in case.scripts for word in words)
    )


def _wrong_language(case: Case) -> bool:
    assert case.language is not None
    return case.label != UNDECIDED and case.label not in case.language.accepts


def _word_by_word(case: Case) -> bool:
    """Whether the reply is a literal translation of the answer that the item lists."""
    return bool(case.item.literal) and match(case.reply, case.item.literal, "name").right


def _other_term(case: Case) -> bool:
    """Whether the reply has a word of the answer, or of the same stem, that is not in the question."""
    if case.item.kind in ("number", "year"):
        return False
    in_question = {word.fold for word in words_of(plain(case.item.question))} | STOP_WORDS
    in_gold = {word.fold for alias in case.item.answers for word in words_of(plain(alias))} - in_question
    in_reply = {word.fold for word in words_of(plain(case.reply))} - in_question
    return any(
        len(gold) >= 4 and (gold == word or Prefix.similarity(gold, word) >= max(4, 0.5 * len(gold)))
        for gold in in_gold
        for word in in_reply
    )


MESSY_RULES = (
    Rule(
        "encoding failure",
        "has broken characters: mojibake, replacement characters, escapes",
        _garbled,
    ),
    Rule("emoji interference", "responds to the emoji, or speaks of them", _about_emoji),
    Rule("parse failure", "asks what the question means, or says that it cannot read it", _not_understood),
    Rule("refusal/empty", "is empty, or says that it does not know or will not answer", _says_nothing),
    Rule("entity misread", "gives the answer for another entity of the same kind", _another_entity),
    Rule("semantic drift", "answers another question", _drifts),
)
MULTILINGUAL_RULES = (
    Rule("refusal/empty", "is empty, or says that it does not know or will not answer", _says_nothing),
    Rule(
        "script issue",
        "is in the expected language but another script, or mixes scripts in a word",
        _wrong_script,
    ),
    Rule("unintended language shift", "is in another language than the expected one", _wrong_language),
    Rule("literal translation", "translates the answer's name word by word", _word_by_word),
    Rule(
        "terminology drift",
        "uses a term that shares a word or stem with the answer, but is not one of its names",
        _other_term,
    ),
)
