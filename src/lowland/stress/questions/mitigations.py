"""Mitigations of messy and mixed-language input: a prompt, a cleaned input, a pinned language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

import emoji

from lowland.ground.mistakes import Mistake, one_of
from lowland.text.corruptions import undo

MITIGATIONS: Mapping[str, tuple[str, ...]] = {
    "messy": ("none", "prompt", "normalise", "both"),
    "multilingual": ("none", "pin"),
}

BASE: Mapping[str, str] = {
    "messy": "Answer the question. Reply with the answer only: a name, a number or a few words.",
    "multilingual": "Answer the question in one short sentence.",
}
ROBUST = (
    "The question may hold typing errors, odd spacing, look-alike letters, emoji or other decoration. Restore it in"
    " your mind to plain text first, ignore the decoration, and answer what was meant. Do not comment on the"
    " errors; reply with the answer only."
)
PIN = (
    "Respond only in {target}. If you are unsure of a term, say UNSURE rather than switch. Keep the dialect."
)

_MEANT = re.compile("([\u00b2\u00b3\u00b9\u2070-\u207f\u00bc-\u00be\u2150-\u215f\u2189])")
# Arabic to Myanmar with Devanagari and its sisters, Khmer, Mongolian: a joiner between two letters spells there, and so
# does one after an Indian script's virama (the sign that takes a letter's vowel).
_SCRIPTS = "\u0600-\u109f\u1780-\u18af"
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0c4d\u0ccd\u0d4d"
_STRAY_JOINER = re.compile(
    f"(?<![{_SCRIPTS}])[\u200c\u200d]+|(?<![{_VIRAMAS}])[\u200c\u200d]+(?![{_SCRIPTS}\u200c\u200d])"
)
_KEYCAP, _FIRST_EMOJI = "\u20e3", "\u2300"  # below, no single character is an emoji by default
_BEFORE_MARK = re.compile(r"\s+([?!,;:])")
_REPEATED = re.compile(r"([?!,;:])\1+")
_UNSURE = re.compile(r"\bUNSURE\b")


def system_prompt(eval: str, mitigation: str, target: str = "English") -> str:
    """Return the system prompt: `BASE` of the eval, and the sentences that the mitigation adds to it.

    Args:
        eval: "messy" or "multilingual".
        mitigation: one of `MITIGATIONS[eval]`; "normalise" cleans the question and does not change the prompt.
        target: the language to pin, in words, such as "Hinglish in Latin letters".

    Raises:
        Mistake: if the eval does not exist, or does not have the mitigation.

    Example:
        >>> system_prompt("multilingual", "pin", "Hindi").removeprefix(BASE["multilingual"]).split(".")[0]
        ' Respond only in Hindi'
    """
    check_mitigation(eval, mitigation)
    added = {"prompt": ROBUST, "both": ROBUST, "pin": PIN.format(target=target)}.get(mitigation)
    return f"{BASE[eval]} {added}" if added else BASE[eval]


def check_mitigation(eval: str, mitigation: str) -> None:
    """Check that the eval has the mitigation; raise a `Mistake` otherwise."""
    if eval not in MITIGATIONS:
        raise Mistake(one_of("eval", eval, MITIGATIONS))
    if mitigation not in MITIGATIONS[eval]:
        raise Mistake(one_of(f"mitigation of {eval}", mitigation, MITIGATIONS[eval]))


def prepared(text: str, mitigation: str) -> str:
    """Return a question as it is sent: cleaned under "normalise" and "both", and unchanged otherwise.

    Raises:
        Mistake: if no eval has the mitigation.

    Example:
        >>> prepared("What  is the c\u0430pital \U0001f600 of Ｆｒａｎｃｅ ??", "normalise")
        'What is the capital of France?'
    """
    names = dict.fromkeys(name for names in MITIGATIONS.values() for name in names)
    if mitigation not in names:
        raise Mistake(one_of("mitigation", mitigation, names))
    return cleaned(text) if mitigation in ("normalise", "both") else text


def cleaned(text: str) -> str:
    """Plain text: NFKC, look-alikes and invisible characters undone, emoji stripped, spaces evened.

    What carries meaning stays: the superscript of 10², fractions, and joiners inside the words of scripts that
    need them (Devanagari's half letters). Idempotent, and the identity on clean text in form NFC.
    """
    before = None
    for _ in range(8):  # one step can lay bare what another removes; it rests after two or three
        if text == before:
            break
        before, text = text, _spaced(_STRAY_JOINER.sub("", undo(_without_emoji(_compatible(text)))))
    return text


def is_unsure(reply: str) -> bool:
    """Return whether a reply says UNSURE: in capitals, as in the prompt, or as its only word.

    Example:
        >>> is_unsure("**Unsure.**"), is_unsure("Rajdhani: UNSURE"), is_unsure("I was unsure, but Delhi.")
        (True, True, False)
    """
    return bool(_UNSURE.search(reply)) or reply.strip(" \t\r\n.!*_\"'`।").casefold() == "unsure"


def _compatible(text: str) -> str:
    """NFKC, but for superscripts and fractions: 10² is not 102, and 1½ is not 11⁄2."""
    return "".join(
        part if number % 2 else unicodedata.normalize("NFKC", part)
        for number, part in enumerate(_MEANT.split(text))
    )


def _without_emoji(text: str) -> str:
    """Each emoji gives way to a space; a digit in a keycap stays, and so do signs of text (©, ↔) in plain style."""

    def instead(found: str, _: object) -> str:
        if found[-1] == _KEYCAP:
            return found[0]
        return found if len(found) == 1 and found < _FIRST_EMOJI else " "

    return emoji.replace_emoji(text, instead)


def _spaced(text: str) -> str:
    """One space between words, none before a mark that ends a phrase, and no such mark twice."""
    text = " ".join(text.split())
    return _REPEATED.sub(r"\1", _BEFORE_MARK.sub(r"\1", text))
