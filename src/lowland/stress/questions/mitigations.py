"""Mitigations of messy and mixed-language input: a prompt, a cleaned input, a pinned language."""

from __future__ import annotations

from collections.abc import Mapping

from lowland.ground.mistakes import Mistake, one_of
from lowland.text.normalise import cleaned

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


def system_prompt(eval: str, mitigation: str, target: str = "English") -> str:
    """Return the system prompt: `BASE` of the eval, and the sentences that the mitigation adds to it.

    Args:
        eval: "messy" or "multilingual".
        mitigation: one of `MITIGATIONS[eval]`; "normalise" cleans the question and does not change the prompt.
        target: the language to pin, in words, such as "Hinglish in Latin letters".

    Raises:
        Mistake: if the eval does not exist, or does not have the mitigation.

    Examples:
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

    Examples:
        >>> prepared("What  is the c\u0430pital \U0001f600 of Ｆｒａｎｃｅ ??", "normalise")
        'What is the capital of France?'
    """
    names = dict.fromkeys(name for names in MITIGATIONS.values() for name in names)
    if mitigation not in names:
        raise Mistake(one_of("mitigation", mitigation, names))
    return cleaned(text) if mitigation in ("normalise", "both") else text
