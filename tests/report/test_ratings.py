"""The report of ratings agrees with the evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowland.evidence.core.kappa import weighted_kappa
from lowland.evidence.ratings import mean_ratings
from lowland.report.ratings import agreement_sentence, ratings_markdown
from tests.evidence.test_stress import multilingual
from tests.report.test_study import tables


def rated() -> pd.DataFrame:
    rows, rng = multilingual(), np.random.default_rng(0)
    rows["fluency"] = rng.integers(1, 6, len(rows)).astype(float)
    rows["judge"] = np.clip(rows["fluency"] + rng.integers(-1, 2, len(rows)), 1, 5)
    rows.loc[rng.random(len(rows)) < 0.3, "fluency"] = np.nan
    rows.loc[rows["condition"] == "hindi", "fluency"] = np.nan
    return rows


def test_means_are_by_item_and_conditions_that_nobody_rated_say_so():
    table = rated()
    result = mean_ratings(table, "fluency")
    (header, *lines) = tables(ratings_markdown(table))[0]
    assert header == ["", "fluency", "judge"]
    ratings = {line[0]: line[1] for line in lines}
    assert ratings["hindi"] == ratings["hindi, with pin"] == "not rated"
    for cell, mean in result.items():
        mine = table[(table["condition"] == cell.condition) & (table["mitigation"] == cell.mitigation)]
        assert mean.value == pytest.approx(mine.groupby("item")["fluency"].mean().mean())
        assert mean.low < mean.value < mean.high
        name = cell.condition + (", with pin" if cell.mitigation == "pin" else "")
        assert ratings[name] == f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})"


def test_agreement_is_of_replies_that_both_rated():
    table = rated()
    both = table.dropna(subset=["fluency", "judge"])
    result = weighted_kappa(both["fluency"], both["judge"], both["item"])
    text = ratings_markdown(table)
    assert agreement_sentence(result, "fluency", "judge") in text
    assert f"{len(both)} replies to 12 items" in text
    assert "Agreement" not in ratings_markdown(table.drop(columns="judge"))
    assert "no agreement can be computed" in ratings_markdown(
        table.assign(judge=table["judge"].where(table["fluency"].isna()))
    )
    assert ratings_markdown(table.assign(fluency=np.nan, judge=np.nan)) == "No reply was rated."
