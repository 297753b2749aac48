"""Mentions that are not the answer: inside a longer name, or behind another answer.

**Longer names.** A mention is part of a longer name if

- a sign or a word is glued to it: C++, ice-cream, anti-matter (not Carbon-12);
- the next word and it begin with capitals: Paris Hilton;
- one content word follows it at the end of a reply of at most four words that it begins, or of a clause in which "is",
  "a" or "the" stands before it: "ice cream", "It is ice cream."

Function words of the packaged languages, words of the question, kinds of things ("city") and adverbs end a name.

**Behind another answer.** A reply whose first sentence is a bare name ("Sydney.") has answered. A later mention
("Canberra is smaller.") counts only if its sentence corrects the first, is a bare name, too, or says "is" before it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

from lowland.items import languages
from lowland.replies.clauses import sentences
from lowland.replies.wording import SIGHT, Mention, Word, before, listed, plain, words_of

KINDS = listed(
    "city town village capital country nation state province region continent island river sea ocean lake canal strait"
    " gulf bay mountain mountains peak range desert planet star moon metal gas element mineral rock stone compound"
    " symbol formula unit units currency language colour color animal bird fish mammal insect tree fruit flower plant"
    " vegetable organ disease vitamin instrument dance festival anthem song day month year century war battle"
    " revolution movement people force process species area"
    " shahar sheher desh rajya nadi sagar parvat grah dhatu pakshi phal rang din bhasha mudra"
    " शहर देश राज्य नदी सागर महासागर पर्वत ग्रह धातु पक्षी फल रंग दिन भाषा मुद्रा"
)
"""Words for kinds of things, which may follow a name without making another one."""
ASIDES = listed(
    "today now again too instead indeed please thanks sir mate though anyway always here there bhai yaar obviously"
    " certainly definitely probably actually"
)
OPENINGS = listed(
    "sure yes yeah yep ok okay well hello hi hey hmm certainly absolutely indeed right correct exactly thanks greetings"
    " good great nice easy simple interesting answer note hint final question explanation"
    " haan bilkul zaroor sahi namaste uttar jawab हां बिल्कुल जरूर सही नमस्ते उत्तर जवाब mrs prof gen capt sir inc"
)
"""Words that make a first sentence an opening and not an answer, or an abbreviation and not a sentence."""
_CORRECTS = re.compile(
    r"\W*(?:no|nope|not|sorry|oops|actually|rather|correction|wait|instead|nahi|nahin|नहीं|माफ)\b",
    re.IGNORECASE,
)
_IS_BEFORE = re.compile(
    r"(?:\b(?:is|was|are|were|be|called|named|means)\s+(?:an?\s+|the\s+)?|[:=]\s*)$", re.IGNORECASE
)
_IS_AFTER = re.compile(r"\s+(?:hai|hain|tha|है|हैं|था)\W*$", re.IGNORECASE)
_INTRODUCES = listed("is was are were be a an called named means")
_BARE_WORDS = 3
"""Largest number of words of a bare name."""
_SHORT_REPLY = 4
"""Largest number of words of a reply that may be one name."""


@lru_cache(maxsize=1)
def function_words() -> frozenset[str]:
    """Return the case-folded function words of all packaged languages."""
    profiles = [language.profile for language in languages().values() if language.profile]
    return frozenset(plain(word).casefold() for profile in profiles for word in profile.function_words)


def is_in_longer_name(mention: Mention) -> bool:
    """Whether the mention is part of a longer name."""
    text, words, start, end = mention.text, mention.words, mention.start, mention.end
    known = mention.known
    after = text[words[end - 1].end : words[end - 1].end + SIGHT]
    if re.match(r"[+#]", after):
        return True
    first_words, past_words = mention.gold_starts, mention.gold_ends
    if start > 0 and text[words[start - 1].end : words[start].start] == "-" and start not in past_words:
        return _makes_name(words[start - 1], known)
    if end == len(words) or end in first_words:
        return False
    between = text[words[end - 1].end : words[end].start]
    if between == "-":
        return _makes_name(words[end], known)
    possessive = re.search(r"['’]s$", before(text, words[end - 1].end))
    if between != " " or possessive or not _makes_name(words[end], known):
        return False
    if words[end - 1].raw[0].isupper() and words[end].raw[0].isupper():
        return True
    border = re.search(r"[.!?,;:()\n]", after)
    stop = words[end - 1].end + border.start() if border else len(text)
    rest = [word for word in words[end : end + 2] if word.start < stop]
    is_short = start == 0 and len(words) <= _SHORT_REPLY and stop >= len(text.rstrip(" .!?"))
    is_introduced = start > 0 and (
        words[start - 1].fold in _INTRODUCES or re.search(r"\bthe\s$", before(text, words[start].start))
    )
    return len(rest) == 1 and bool(is_short or is_introduced)


def follows_another_answer(mention: Mention) -> bool:
    """Whether the first sentence is a bare other name, and the mention does not correct it."""
    text, known, (first, past) = mention.text, mention.known, mention.span
    spans = sentences(text)
    place = bisect_right(spans, first, key=lambda span: span[0]) - 1
    own = spans[place] if place >= 0 and first < spans[place][1] else None
    if own is None or own == spans[0] or not text[slice(*spans[0])].rstrip().endswith("."):
        return False
    opening = words_of(text[slice(*spans[0])])
    if (
        not _is_bare(opening)
        or {word.fold for word in opening} <= known
        or any(_opens(word) for word in opening)
    ):
        return False
    sentence = text[slice(*own)]
    return not (
        _CORRECTS.match(sentence)
        or _is_bare(words_of(sentence))
        or _IS_BEFORE.search(text[max(own[0], first - SIGHT) : first])
        or _IS_AFTER.match(text[past : own[1]])
    )


def _makes_name(word: Word, known: frozenset[str]) -> bool:
    """Whether a word beside a name can be part of it."""
    ends_name = word.fold in known | KINDS | ASIDES | function_words() or word.fold.endswith("ly")
    return word.raw[0].isalpha() and len(word.fold) > 1 and not ends_name


def _is_bare(sentence: Sequence[Word]) -> bool:
    """Whether a sentence is nothing but a name."""
    return 0 < len(sentence) <= _BARE_WORDS and not any(word.fold in function_words() for word in sentence)


def _opens(word: Word) -> bool:
    return word.fold in OPENINGS or len(word.fold) < 3 or not word.raw[0].isalpha()
