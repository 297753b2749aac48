"""Detection of a reply's language by the scripts of its words, then by function words; "undecided" is a valid result.

1. Remove what carries no language: links, code, markup, numbers, acronyms, formulas, UNSURE, and glosses in brackets
   (unless nothing else is left).
2. If no words are left, the reply is undecided. If at least half of the words are in scripts of no profile, it is
   other.
3. If some words are in Latin letters and some in the script of another profile, it is code-switched.
4. Else the profiles of the script compete by the number of their function words in the reply. English counts half,
   because sentences in other languages use its words. A list of other languages' function words competes for "other".
   A tie is undecided.
5. If the reply has no function word and only one profile has its script, up to three words are in that profile's
   language (टोक्यो), and more are other, because a sentence without function words is not in that language. In Latin
   letters, a reply without a function word is other if it has a character outside ASCII (Łódź), and undecided if not
   (Tokyo).

The accuracy is measured on `tests/replies/labelled_replies.jsonl`; the test holds the numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from lowland.items import BOTH_SCRIPTS, Language, Profile
from lowland.replies.wording import THINKING, listed

OTHER, UNDECIDED = "other", "undecided"
EMBEDDED, EMBEDDED_WEIGHT = "english", 0.5
SHORT = 3
"""Largest number of words for which the script alone decides."""

FOREIGN = (
    Profile(
        label=OTHER,
        script="Latin",
        function_words=listed(
            # Spanish, Portuguese, French, Italian
            "el los las una es son por con del lo siento muy pero como está están o os as um uma é são"
            " não do que dos das em le les des du un est sont je ne pas et dans pour sur avec ce cette"
            " qui il elle nous vous aux gli uno è sono di che non per della dell alla più la de en y sa"
            # German, Dutch, Scandinavian
            " der die das den dem ein eine ist sind und nicht von zu im mit für auf ich es het een van niet zijn"
            " og er det ikke av och är det inte"
            # Indonesian, Malay, Turkish, Swahili, Polish, Vietnamese
            " adalah yang dan di itu ini tidak dari untuk ve bir bu için değil dır dir ni na ya wa kwa jest nie się"
            " są là của và không"
        ),
    ),
    Profile(
        label=OTHER,
        script="Devanagari",
        function_words=listed(
            # Marathi, Nepali, Sanskrit
            "आहे आहेत आणि मला नाही नाहीत होते होता तो ती ते हे ही हा या व च मी तुम्ही आपण काय कोण कसे पण मध्ये साठी"
            " छ छन् हो र यो त्यो मलाई छैन गर्छ हुन्छ भएको थियो लाई बाट पनि तर के म तपाईं अस्ति एव च न सः तत्"
        ),
    ),
)
"""Function words of languages that have no profile, without those that occur in answers (da Vinci, Au)."""

NO_LANGUAGE = re.compile(r"https?://\S+|www\.\S+|`[^`]*`|<[^<>\s]*>|\bUNSURE\b")
BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")


def language_of(reply: str, profiles: Collection[Profile]) -> str:
    """Return the label of a reply: a profile's label, "code-switched", "other" or "undecided".

    Args:
        reply: any text.
        profiles: profiles of the languages to tell apart; see `profiles_of`.

    Examples:
        >>> from lowland.items import languages
        >>> profiles = profiles_of(languages().values())
        >>> [language_of(text, profiles) for text in ("Japan ki rajdhani Tokyo hai.", "Tokyo", "राजधानी Tokyo है।")]
        ['hinglish', 'undecided', 'code-switched']
    """
    words = language_words(reply)
    if not words:
        return UNDECIDED
    scripts = Counter(script_of(word) for word in words)
    of_profiles = {profile.script.casefold() for profile in profiles}
    if 2 * sum(count for script, count in scripts.items() if script in of_profiles) <= len(words):
        return OTHER
    main, *rest = [script for script, _ in scripts.most_common() if script in of_profiles]
    if rest and "latin" in (main, *rest):
        return BOTH_SCRIPTS
    of_script = [word if word.islower() else word.casefold() for word in words if script_of(word) == main]
    return _by_function_words(of_script, main, profiles)


def keeps(reply: str, language: Language, profiles: Collection[Profile]) -> bool | None:
    """Whether a reply is in a condition's language; None if the reply's language is undecided."""
    label = language_of(reply, profiles)
    return None if label == UNDECIDED else label in language.accepts


def profiles_of(languages: Collection[Language]) -> tuple[Profile, ...]:
    """Return the profiles of the languages that have one."""
    return tuple(language.profile for language in languages if language.profile is not None)


def language_words(reply: str) -> list[str]:
    """Return the words of a reply that can carry a language, in any script."""
    text = NO_LANGUAGE.sub(" ", unicodedata.normalize("NFKC", THINKING.sub(" ", reply)))
    words_outside_brackets = _words(BRACKETS.sub(" ", text))
    return words_outside_brackets or _words(text)


@lru_cache(maxsize=8192)
def script_of(word: str) -> str:
    """Return the script of most letters of a word, as the first word of their Unicode names: "latin", "devanagari"."""
    scripts = Counter(
        unicodedata.name(letter, "?").split()[0].casefold() for letter in word if letter.isalpha()
    )
    return scripts.most_common(1)[0][0] if scripts else "?"


def _words(text: str) -> list[str]:
    """Return runs of letters and marks, without acronyms, formulas and runs with digits."""
    characters = (
        character if unicodedata.category(character)[0] in "LMN" or character in "'’" else " "
        for character in text
    )
    words = [word.strip("'’") for word in "".join(characters).split()]
    return [
        word
        for word in words
        if any(character.isalpha() for character in word)
        and not any(character.isdigit() for character in word)
        and not (script_of(word) == "latin" and (word.isupper() and 2 <= len(word) <= 5))
    ]


def _by_function_words(words: Sequence[str], script: str, profiles: Collection[Profile]) -> str:
    """Return the label of words that are all in one script."""
    own = [profile for profile in profiles if profile.script.casefold() == script]
    foreign = [profile for profile in FOREIGN if profile.script.casefold() == script]
    own_words = frozenset[str]().union(*(profile.function_words for profile in own))
    scores: dict[str, float] = {}
    for profile in (*own, *foreign):
        function_words = profile.function_words if profile in own else profile.function_words - own_words
        weight = EMBEDDED_WEIGHT if profile.label == EMBEDDED else 1.0
        scores[profile.label] = weight * sum(word in function_words for word in words)
    best = max(scores.values())
    leading = [label for label, score in scores.items() if score == best]
    if best > 0:
        return leading[0] if len(leading) == 1 else UNDECIDED
    if script == "latin" and any(not word.isascii() for word in words):
        return OTHER
    if script == "latin" or len(own) > 1:
        return UNDECIDED
    return own[0].label if len(words) <= SHORT else OTHER
