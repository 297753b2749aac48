"""Reader of the table that `lowland retention` writes: what each run lost on other texts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lowland.deploy.forgetting.retention import BASE, COLUMNS
from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.forms import read_form


def read_retention(path: Path) -> dict[tuple[str, int], float]:
    """Return the mean score of each run minus that of its base model, by method and seed; below 0 it has forgotten.

    Args:
        path: file of `lowland retention --out`.

    Raises:
        Mistake: if the file cannot be read or is no such table, or has no rows of the base model.
    """
    table = read_form(path).rows
    wanted = [name for name in COLUMNS if name != "text"]
    if missing := [name for name in wanted if name not in table.columns]:
        raise Mistake(
            f"{path} has no column {', '.join(missing)}; give the file that lowland retention has written with --out"
        )
    try:
        scores = pd.DataFrame(
            {
                "method": table["method"].astype(str),
                "seed": table["seed"].astype(int),
                "score": table["score"].astype(float),
            }
        )
    except (ValueError, TypeError):
        raise Mistake(
            f"{path} has a seed or a score that is not a number; give the file that lowland retention has written with"
            " --out"
        ) from None
    means = scores.groupby(["method", "seed"])["score"].mean()
    if BASE not in means.index.get_level_values("method"):
        raise Mistake(
            f"{path} has no rows of the method {BASE}, the base model; give all rows that were written"
        )
    of_base = float(scores.loc[scores["method"] == BASE, "score"].mean())
    rows = means.reset_index()
    return {
        (str(method), int(seed)): float(mean) - of_base
        for method, seed, mean in zip(rows["method"], rows["seed"], rows["score"], strict=True)
        if method != BASE
    }
