"""The kinds of error of a wrong reply, as ordered tables of rules: name, what it means, and the test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import emoji
from rapidfuzz import fuzz
from rapidfuzz.distance import Prefix

from lowland.stress.questions.items import Item, Language
from lowland.stress.replies.answers import STOP_WORDS, match
from lowland.stress.replies.language import UNDECIDED, language_words, script_of
from lowland.stress.replies.numbers import numbers_in
from lowland.stress.replies.wording import listed, plain, words_of

SAME_LANGUAGE = (frozenset({"hindi", "hinglish"}),)
"""Labels of one language in two scripts."""


@dataclass(frozen=True)
class Case:
    """A wrong reply and what is known of it.

    Attributes:
        item: the question, clean, with its gold.
        prompt: the question as it was sent.
        reply: what came back.
        condition: the corruption, or the language's condition.
        others: the other items of the test.
        language: the condition's language; None in the messy test.
        label: of `language_of` for the reply; "" in the messy test.
        scripts: those that keep the language, as `script_of` names them.
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
    """A kind of error."""

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
    """Replacement and control characters, escapes, or UTF-8 that was read as another encoding."""
    if MOJIBAKE.search(case.reply):
        return True
    if any(unicodedata.category(one) in ("Cc", "Cs", "Co") and one not in "\t\n\r" for one in case.reply):
        return True
    return any(_misread(run) for run in re.findall(r"[^\x00-\x7f]{2,}", case.reply))


def _misread(run: str) -> bool:
    try:
        return run.encode("cp1252").decode("utf-8") != run
    except UnicodeError:
        return False


def _about_emoji(case: Case) -> bool:
    """The prompt has emoji, and the reply speaks of them, is made of them, repeats them or names one."""
    sent = {one["emoji"] for one in emoji.emoji_list(case.prompt)}
    if not sent:
        return False
    if re.search(r"emoji|emoticon|smile?y|इमोजी", case.reply, re.IGNORECASE):
        return True
    came = {one["emoji"] for one in emoji.emoji_list(case.reply)}
    words = {word.fold for word in words_of(plain(case.reply))} - STOP_WORDS
    if came and (not words or came & sent):
        return True
    names = " ".join(emoji.demojize(one, delimiters=(" ", " ")) for one in sent).replace("_", " ")
    return bool(words) and words <= set(names.casefold().split())


def _not_understood(case: Case) -> bool:
    return NOT_UNDERSTOOD.search(case.reply) is not None


def _says_nothing(case: Case) -> bool:
    """No letter and no digit, or a refusal."""
    return not any(one.isalnum() for one in case.reply) or REFUSAL.search(case.reply) is not None


# Whose answer is it?


def _another_entity(case: Case) -> bool:
    """The answer to an item of the same kind and topic that is asked in like words.

    A bare number proves nothing: for numbers the reply must use a word of the other question that this one has not.
    """
    return any(
        other.kind == case.item.kind
        and other.topic == case.item.topic
        and _alike(other.question, case.item.question)
        and _answers(case, other)
        for other in case.others
    )


def _answers(case: Case, other: Item) -> bool:
    if not match(case.reply, other.answers, other.kind, other.question).right:
        return False
    if other.kind not in ("number", "year"):
        return True
    own = _stems(other.question) - _stems(case.item.question)
    return bool(own & _stems(case.reply))


def _alike(one: str, other: str) -> bool:
    """Questions with the same first two words, or of like words."""
    first, second = (normal.casefold().split() for normal in (one, other))
    return first[:2] == second[:2] or fuzz.token_sort_ratio(one, other) >= 60


def _drifts(case: Case) -> bool:
    """Another question's answer, no answer of the kind asked for, or sentences about something else."""
    words = words_of(plain(case.reply))
    numbers = numbers_in(plain(case.reply))
    if any(_answers(case, other) for other in case.others if other.kind not in ("number", "year")):
        return True
    asks_number = case.item.kind in ("number", "year")
    if asks_number and not numbers:
        return True
    if not asks_number and numbers and all(word.fold.isdigit() for word in words):
        return True
    own = _stems(case.item.question)
    return len(words) >= 6 and len(own & _stems(case.reply)) < len(own) / 2


def _stems(text: str) -> set[str]:
    """The first five letters of the content words."""
    return {word.fold[:5] for word in words_of(plain(text))} - {word[:5] for word in STOP_WORDS | ASKING}


ASKING = listed("what which who whom whose when where why how many much did does do has have been")


# Languages and terms


def _wrong_script(case: Case) -> bool:
    """Two scripts inside a word, the right language in another script, or a few words in none of its scripts."""
    words = language_words(case.reply)
    if any(len({script_of(one) for one in word if one.isalpha()}) > 1 for word in words):
        return True
    assert case.language is not None
    if any(case.label in same and same & set(case.language.accepts) for same in SAME_LANGUAGE):
        return case.label not in case.language.accepts
    return (
        case.label == UNDECIDED and bool(words) and not any(script_of(word) in case.scripts for word in words)
    )


def _wrong_language(case: Case) -> bool:
    assert case.language is not None
    return case.label != UNDECIDED and case.label not in case.language.accepts


def _word_by_word(case: Case) -> bool:
    """A listed literal translation of the answer."""
    return bool(case.item.literal) and match(case.reply, case.item.literal, "name").right


def _other_term(case: Case) -> bool:
    """A word of the answer's, or of the same stem, that the question has not: another term for the thing."""
    if case.item.kind in ("number", "year"):
        return False
    asked = {word.fold for word in words_of(plain(case.item.question))} | STOP_WORDS
    golds = {word.fold for alias in case.item.answers for word in words_of(plain(alias))} - asked
    said = {word.fold for word in words_of(plain(case.reply))} - asked
    return any(
        len(gold) >= 4 and (gold == word or Prefix.similarity(gold, word) >= max(4, 0.5 * len(gold)))
        for gold in golds
        for word in said
    )


MESSY_RULES = (
    Rule(
        "encoding failure",
        "the reply's characters are broken: mojibake, replacement characters, escapes",
        _garbled,
    ),
    Rule("emoji interference", "answers the emoji, or speaks of them", _about_emoji),
    Rule("parse failure", "asks what is meant, or says that it cannot read the question", _not_understood),
    Rule("refusal/empty", "says nothing, or that it does not know or will not answer", _says_nothing),
    Rule("entity misread", "the answer for another known entity of the same kind", _another_entity),
    Rule("semantic drift", "answers another question", _drifts),
)
MULTILINGUAL_RULES = (
    Rule("refusal/empty", "says nothing, or that it does not know or will not answer", _says_nothing),
    Rule(
        "script issue", "the wanted language in another script, or two scripts within a word", _wrong_script
    ),
    Rule("unintended language shift", "another language than the one wanted", _wrong_language),
    Rule("literal translation", "the answer's name translated word by word", _word_by_word),
    Rule(
        "terminology drift",
        "a term that shares a word or stem with the answer, and is none of its names",
        _other_term,
    ),
)
