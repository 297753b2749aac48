"""A language condition of the multilingual test, and the reader of a folder of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from lowland.ground.asked import Asked, Text
from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.items.reading import ITEMS_FOLDER, SomeTexts, Texts, read_object, require

BOTH_SCRIPTS = "code-switched"
"""Label of a reply in two scripts; no profile has it."""


def _is_set_of_words(value: Any) -> bool:
    return isinstance(value, list | frozenset) and len(value) > 0


def _is_profile(value: Any) -> bool:
    return isinstance(value, dict | Profile | None)


def _is_filled_object(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


class Profile(Asked):
    """The marks by which a language is recognised: its script and its function words."""

    label: Text
    """The name that a reply in this language gets."""
    script: Text
    """The first word of the Unicode names of its letters, as "Devanagari"."""
    function_words: Annotated[frozenset[Text], require(_is_set_of_words, "be a list of at least one text")]
    """Small, frequent words: pronouns, auxiliaries, question words."""


class Language(Asked):
    """A condition of the multilingual test; a file in `languages/`."""

    condition: Text
    """The name in tables and on the command line, as "hinglish"."""
    name: Text
    """The name for readers."""
    target: Text
    """The name that a prompt uses, as "Hinglish in Latin letters"."""
    accepts: SomeTexts
    """The labels of `lowland.replies.language.language_of` that keep the language."""
    profile: Annotated[
        Profile | None,
        require(_is_profile, "be null, or an object with label, script and function_words"),
    ]
    """How a reply in the language is recognised; null for a mix of other languages."""
    questions: Annotated[
        Mapping[str, Text],
        require(_is_filled_object, 'be an object such as {"capital-japan": "What is …?"}'),
    ]
    """Item id -> the question in this language."""
    answers: Annotated[
        Mapping[str, Texts], require(_is_object, 'be an object such as {"capital-japan": ["Tokyo"]}')
    ] = {}
    """Item id -> further right answers in this language."""


def languages(folder: Path | None = None, own: Sequence[Path] = ()) -> dict[str, Language]:
    """Return the language conditions by name, English first and the others in alphabetical order of their files.

    Args:
        folder: the user's own folder; its `languages/*.json` are read instead of the package's.
        own: the user's own files, each with one language; they are added at the end.

    Raises:
        Mistake: if there is no language, or a file cannot be used; a sentence for each problem.
    """
    if folder is not None and folder.is_file():
        raise Mistake(f"items is {folder}, which is a file; the multilingual test takes a folder of items")
    place = (folder or ITEMS_FOLDER) / "languages"
    packed = sorted(place.glob("*.json"), key=lambda path: (path.stem != "english", path.stem))
    if not packed:
        raise Mistake(f"{place} holds no language; it must hold a .json file for each condition")
    paths = [*packed, *own]
    read: dict[Path, Language] = {}
    problems: list[str] = []
    for path in paths:
        with gathering(problems):
            read[path] = read_object(path, Language)
    problems += _clashes(read)
    if problems:
        raise Mistake(*problems)
    return {language.condition: language for language in read.values()}


def language_files(path: Path) -> list[Path]:
    """Return the .json files of a folder, in alphabetical order, or the file itself.

    Raises:
        Mistake: if the path is neither a folder with .json files nor a .json file.
    """
    if path.suffix == ".json" and path.is_file():
        return [path]
    if files := sorted(path.glob("*.json")):
        return files
    if path.exists() and not path.is_dir():
        raise Mistake(f"{path} is not a .json file; a language is a .json file, or a folder holds several")
    state = "holds no language" if path.exists() else "does not exist"
    raise Mistake(f"{path} {state}; name a .json file, or a folder with a .json file for each language")


def _clashes(read: Mapping[Path, Language]) -> list[str]:
    """Return a sentence for each condition or label in two files, and each accepted label that does not exist."""
    problems = []
    labels = [BOTH_SCRIPTS, *(language.profile.label for language in read.values() if language.profile)]
    first_path: dict[str, Path] = {}
    profile_of: dict[str, Profile] = {}
    for path, language in read.items():
        first = first_path.setdefault(language.condition, path)
        if first != path:
            problems.append(
                f"{path}: condition '{language.condition}' is also that of {first.name}; rename one of them"
            )
        if (
            language.profile
            and profile_of.setdefault(language.profile.label, language.profile) != language.profile
        ):
            label = language.profile.label
            problems.append(
                f"{path}: another language has another profile with the label '{label}'; rename one of them"
            )
        unknown = [label for label in language.accepts if label not in labels]
        problems += [f"{path}: accepts: {one_of('label', label, labels)}" for label in unknown]
    return problems
