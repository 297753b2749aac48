"""Training file for docs/results/gemma-stress.md: lowland's facts, and questions of SQuAD on one short sentence.

A question of SQuAD is taken if its answer has at most four words and stands in a sentence of at most 40 words. The
prompt is this sentence and the question. Questions near an item of the stress tests are left out: those with a
similarity of 75 or more to an item's question in any language (rapidfuzz's token_set_ratio, 0 to 100).

    python benchmarks/short_questions.py --squad dev-v2.0.json --questions 400 --out short.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rapidfuzz import fuzz

from lowland.ground.rng import stream
from lowland.items import facts, messy_items, multilingual_items

WORDS, ANSWER_WORDS = 40, 4
"""Largest number of words of a sentence, and of an answer."""
NEAR = 75.0
"""Similarity from which a question counts as a copy of a stress item."""

Row = dict[str, str]


def asked_questions() -> list[str]:
    """Return the questions of all stress items, in all languages."""
    return [item.question for items in (messy_items(), multilingual_items()) for item in items]


def nearest_item(question: str, asked: Sequence[str]) -> float:
    """Return the similarity of a question to the nearest stress item, 0 to 100."""
    return max(fuzz.token_set_ratio(question.casefold(), other.casefold()) for other in asked)


def squad_rows(path: Path) -> Iterator[Row]:
    """Yield each question of SQuAD that a short sentence answers in a few words, with that sentence."""
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for asked in paragraph["qas"]:
                if not asked["answers"]:
                    continue
                answer = asked["answers"][0]
                sentence = _sentence_at(context, answer["answer_start"])
                words = len(answer["text"].split())
                if answer["text"] in sentence and words <= ANSWER_WORDS and len(sentence.split()) <= WORDS:
                    yield {"prompt": f"{sentence} {asked['question'].strip()}", "completion": answer["text"]}


def _sentence_at(context: str, place: int) -> str:
    """Return the sentence of a text that holds the character at a place."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", context)]
    start = max((end for end in ends if end <= place), default=0)
    end = min((end for end in ends if end > place), default=len(context))
    return context[start:end].strip()


def main() -> None:
    """Write the training file, and say what it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    asked = asked_questions()
    rows = list(squad_rows(options.squad))
    far = [row for row in rows if nearest_item(row["prompt"], asked) < NEAR]
    chosen = stream(0, "short questions").permutation(len(far))[: options.questions]
    known = [{"prompt": fact.question, "completion": fact.answer} for fact in facts() if not fact.item]
    table = [*known, *(far[number] for number in sorted(chosen))]
    options.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table), "utf-8")
    parts = (known, table[len(known) :])
    nearest = " and ".join(f"{max(nearest_item(row['prompt'], asked) for row in part):.0f}" for part in parts)
    print(
        f"{len(known)} facts and {len(chosen)} questions of SQuAD ({len(rows)} fit, {len(rows) - len(far)} of them near"
        f" an item); the nearest to an item have similarities of {nearest}"
    )


if __name__ == "__main__":
    main()
