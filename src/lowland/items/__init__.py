"""The items, language conditions and facts that come with the package, or a user's own; checked as they are read.

A file is read whole, and all of its mistakes are reported at once, each with its line. The files:

- `messy.jsonl`: an object in each line with `id`, `topic`, `kind`, `question`, `answers` and perhaps `protect`;
- `multilingual.jsonl`: an object in each line with `id`, `topic`, `kind`, `answers` and perhaps `literal`;
- `languages/*.json`: a condition in each file (`Language`), with its own wording of every question;
- `facts.jsonl`: an object in each line with `id`, `fact`, `question`, `answer` and perhaps `item`.
"""

from lowland.items.fact import Fact, facts
from lowland.items.item import KINDS, Item, content_hash
from lowland.items.language import BOTH_SCRIPTS, Language, Profile, language_files, languages
from lowland.items.messy import messy_items
from lowland.items.multilingual import multilingual_items
from lowland.items.reading import ITEMS_FOLDER

__all__ = [
    "BOTH_SCRIPTS",
    "ITEMS_FOLDER",
    "KINDS",
    "Fact",
    "Item",
    "Language",
    "Profile",
    "content_hash",
    "facts",
    "language_files",
    "languages",
    "messy_items",
    "multilingual_items",
]
