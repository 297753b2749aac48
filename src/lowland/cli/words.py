"""Reader of a command line's words: values by field, and a sentence for everything that is wrong with the words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lowland.cli.options import Command, Option, Values
from lowland.ground.mistakes import Mistake, unknown_setting
from lowland.ground.names import nearest
from lowland.ground.yaml_files import parse_yaml

FREE_TEXT = ("text", "text_column", "image", "runs", "axis", "only", "names")
"""Lists whose values may hold commas and spaces."""


def read_words(words: Sequence[str], verb: Command, prog: str) -> tuple[Values, list[str]]:
    """Return the values by field, and what is wrong with the words.

    Args:
        words: behind the verb.
        verb: with the options that exist.
        prog: how the verb is called, for the sentences.
    """
    reader = _Reader(verb, prog)
    for number, word in enumerate(words):
        if word == "--":
            reader.end_option()
            for rest in words[number + 1 :]:
                reader.take_value(rest)
            break
        if re.fullmatch(r"--\w.*", word, re.DOTALL):
            reader.take_option(word)
        elif word.startswith("-") and len(word) > 1 and not _is_number(word):
            reader.take_dashed(word)
        else:
            reader.take_value(word)
    reader.end_option()
    return reader.values, reader.all_problems()


@dataclass
class _Reader:
    """State of the reading: values and problems so far.

    Attributes:
        verb: with the options that exist.
        prog: how the verb is called.
        values: by field.
        problems: in the order of the words.
        option: the last option; words behind it may be its values.
        arguments: the values behind it.
        places: words of the positional field.
        surplus: values behind options that take one, by flag.
        behind_unknown: whether the last option does not exist, so that the words behind it are its values.
    """

    verb: Command
    prog: str
    values: Values = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    option: Option | None = None
    arguments: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    surplus: dict[str, list[str]] = field(default_factory=dict)
    behind_unknown: bool = False

    def take_option(self, word: str) -> None:
        """Read an option, perhaps with its value behind an equals sign."""
        self.end_option()
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")  # fields have underscores in recipe files
        options = self.verb.options
        option = options.get(name) or options.get(name.replace("--no-", "--", 1))
        if option is None or (name != option.flag and not option.is_switch):
            self._refuse_option(word)
        elif option.is_switch:
            self._switch(option, name, equals, value)
        else:
            self.option = option
            if equals:
                self.arguments.append(value)
                self.end_option()

    def take_dashed(self, word: str) -> None:
        """Read a word with one dash: an option that is written wrongly, or a value that begins with a dash."""
        near = nearest(word.partition("=")[0], self.verb.options, synonyms=True, cutoff=0.8)
        takes_more = self.option is not None and (self.option.is_list or not self.arguments)
        if near is None and self.option is not None and takes_more:
            self.problems.append(
                f"{word} begins with a dash; to give it as a value, write {self.option.flag}={word}"
            )
            self.arguments, self.option = [], None
        else:
            self.end_option()
            self._refuse_option(word)

    def take_value(self, word: str) -> None:
        """Read a value of the last option, or of the positional field."""
        if self.behind_unknown:
            return
        option = self.option
        if option is not None and option.is_switch:
            option = self.option = None if word.casefold() not in ("true", "false") else option
        if option is not None and option.is_switch:
            self._value_of_switch(option, word)
        elif option is not None and (option.is_list or not self.arguments):
            self.arguments.append(word)
        elif self._place_is_free():
            self.end_option()
            self.places.append(word)
        elif option is not None:
            self.surplus.setdefault(option.flag, []).append(word)
        else:
            self.problems.append(self._misplaced(word))

    def end_option(self) -> None:
        """Store the values of the last option."""
        option, arguments = self.option, self.arguments
        self.option, self.arguments, self.behind_unknown = None, [], False
        if option is None or option.is_switch:
            return
        if not arguments:
            self.problems.append(f"{option.flag} has no value; give one, as {option.flag} {option.metavar}")
        elif option.is_list:
            self.values[option.name] = [
                *self.values.get(option.name, []),
                *self._separated(option, arguments),
            ]
        else:
            self._store_one(option, arguments[0])

    def all_problems(self) -> list[str]:
        """Store the positional field, and return what is wrong."""
        if self.places and (name := self.verb.positional) is not None:
            self.values[name] = self.places if self._is_list(name) else self.places[0]
        for flag, words in self.surplus.items():
            option = self.verb.options[flag]
            first = self.values.pop(option.name, "")
            self.problems.append(self._one_value(option, [str(first), *words]))
        return self.problems

    def _store_one(self, option: Option, value: str) -> None:
        numbers = re.split(r"[,\s]+", value.strip(" ,[]"))
        if option.is_number and len(numbers) > 1:
            self.problems.append(self._one_value(option, numbers))
        elif option.is_mapping:
            try:
                self.values[option.name] = parse_yaml(value, option.flag)
            except Mistake as mistake:
                self.problems += mistake.problems
        else:
            self.values[option.name] = value

    def _switch(self, option: Option, name: str, equals: str, value: str) -> None:
        self.option = option
        self.values[option.name] = name == option.flag
        if equals:
            self._value_of_switch(option, value)

    def _value_of_switch(self, option: Option, value: str) -> None:
        """Refuse a value of a switch."""
        self.option = None
        off = (
            f"leave {option.flag} out" if option.flag.startswith("--no-") else f"write --no-{option.flag[2:]}"
        )
        advice = off if value.casefold() == "false" else f"write {option.flag} alone"
        self.problems.append(f"{option.flag} takes no value; {advice}")

    def _separated(self, option: Option, arguments: Sequence[str]) -> Sequence[str]:
        """Return the values of a list; several in one word are a mistake, and are read for further ones."""
        is_pattern = option.name == "targets" and any(set(word) & set("[{(") for word in arguments)
        if option.name in FREE_TEXT or is_pattern:
            return arguments
        parts = [part for word in arguments for part in re.split(r"[,\s]+", word.strip(" ,[]")) if part]
        if not parts or parts == list(arguments):
            return arguments
        self.problems.append(
            f"{option.flag} is given {' '.join(arguments)}; separate its values with spaces:"
            f" {option.flag} {' '.join(parts)}"
        )
        return parts

    def _one_value(self, option: Option, arguments: Sequence[str]) -> str:
        """Return the sentence for several values of an option that takes one."""
        advice = self.verb.advice(option.name, arguments) or f"give one, as {option.flag} {arguments[0]}"
        return (
            f"{option.flag} takes one value, and is given {len(arguments)}: {', '.join(arguments)}; {advice}"
        )

    def _refuse_option(self, word: str) -> None:
        self.behind_unknown = True
        names = [*self.verb.options, "--help", "--debug"]
        self.problems.append(unknown_setting("option", word.partition("=")[0], names, f"{self.prog} --help"))

    def _misplaced(self, word: str) -> str:
        if self.verb.positional is None:
            return f"unexpected argument '{word}'; {self.prog} --help lists the options"
        takes = f"{self.prog} takes one {self.verb.positional}, and has {self.places[0]}"
        return f"unexpected argument '{word}'; {takes}"

    def _place_is_free(self) -> bool:
        name = self.verb.positional
        return name is not None and (self._is_list(name) or not self.places)

    def _is_list(self, name: str) -> bool:
        return Option(name, "", self.verb.fields[name]).is_list


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def wants_help(words: Sequence[str]) -> bool:
    """Return whether help is asked for among the words of a verb."""
    return any(word in ("-h", "--help") for word in words)
