"""Evidence of stress tests on simulated rows. Oracles: pandas, loops by hand, and scipy."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lowland.evidence.cells import cell_differences
from lowland.evidence.core.by_item import draw, holm, sign_flip_p
from lowland.evidence.readers.stress_rows import Cell, split_rows
from lowland.evidence.stress import stress_evidence
from lowland.ground.mistakes import Mistake

LEVELS = {"light": 0.05, "heavy": 0.2}
CLEAN = Cell("clean", "", False, "none")
HEAVY = Cell("typos", "heavy", False, "none")


def row(item: int, condition: str, level: str, mitigation: str, epoch: int, **more: Any) -> dict[str, Any]:
    return {
        "eval": "messy",
        "model": "mock/one",
        "item": f"item-{item:02}",
        "topic": "geography",
        "condition": condition,
        "level": level,
        "rate": LEVELS.get(level, 0.0) if not level[:1].isdigit() else float(level),
        "protected": False,
        "mitigation": mitigation,
        "epoch": epoch,
        "prompt": f"question {item}?",
        "gold": "Paris | Paree",
        "reply": "Paris",
        "status": "scored",
        "score": 1.0,
        "near": False,
        "category": "right",
        "language": "",
        "kept": None,
        "edits": 0,
        **more,
    }


def messy(
    items: int = 24, epochs: int = 3, seed: int = 0, levels: tuple[str, ...] = tuple(LEVELS)
) -> pd.DataFrame:
    """Rows that are 90 % right if clean; 1 % of damaged characters costs 2 points, half with normalising."""
    rng = np.random.default_rng(seed)
    places = [("clean", ""), *itertools.product(("ocr", "typos"), levels)]
    rows = []
    hard = rng.normal(0, 0.15, items)
    for (condition, level), mitigation in itertools.product(places, ("none", "normalise")):
        for item, epoch in itertools.product(range(items), range(1, epochs + 1)):
            values = row(item, condition, level, mitigation, epoch)
            harm = 2 * values["rate"] * (0.5 if mitigation == "normalise" else 1.0)
            right = rng.random() < 0.9 - harm + hard[item]
            category = "right" if right else rng.choice(["unsure", "semantic drift"])
            rows.append({**values, "score": float(right), "category": category, "near": rng.random() < 0.1})
    return pd.DataFrame(rows)


def multilingual(items: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for item, condition, mitigation, epoch in itertools.product(
        range(items), ("english", "hindi", "hinglish"), ("none", "pin"), (1, 2)
    ):
        right = rng.random() < (0.9 if condition == "english" else 0.6)
        kept = [True, False, None][rng.integers(3)]
        values = row(
            item, condition, "", mitigation, epoch, score=float(right), kept=kept, eval="multilingual"
        )
        rows.append({**values, "category": "right" if right else "wrong fact"})
    return pd.DataFrame(rows)


def at(rows: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    mine = (rows["condition"] == cell.condition) & (rows["level"] == cell.level)
    return rows[mine & (rows["protected"] == cell.protected) & (rows["mitigation"] == cell.mitigation)]


def fail(rows: pd.DataFrame, failing: pd.Series) -> pd.DataFrame:
    return rows.assign(
        status=rows["status"].mask(failing, "failed"),
        score=rows["score"].mask(failing),
        category=rows["category"].mask(failing, ""),
        reply=rows["reply"].mask(failing, ""),
    )


# --- cells ---------------------------------------------------------------------------------


def test_shares_are_means_over_items_and_intervals_are_of_items_drawn():
    rows = messy()
    evidence = stress_evidence(rows, resamples=300, seed=4)
    counts = draw(24, resamples=300, seed=4).counts
    for scores in evidence.cells:
        block = at(rows, scores.cell)
        by_item = block.groupby("item")["score"].mean().to_numpy()
        drawn = [np.repeat(by_item, c.astype(int)).mean() for c in counts]
        assert scores.accuracy.value == pytest.approx(block["score"].mean())
        assert (scores.accuracy.low, scores.accuracy.high) == pytest.approx(
            tuple(np.quantile(drawn, [0.025, 0.975]))
        )
        assert scores.unsure.value == pytest.approx((block["category"] == "unsure").mean())
        assert scores.near.value == pytest.approx(block["near"].mean())
        assert (scores.asked, scores.failed, scores.rate) == (72, 0, block["rate"].iloc[0])
        assert scores.strict == scores.accuracy
        assert evidence.categories[scores.cell] == block["category"].value_counts().to_dict()
    assert evidence.cells[0].cell == CLEAN
    assert (evidence.items, evidence.epochs, evidence.asked, evidence.model) == (24, 3, len(rows), "mock/one")


def test_the_order_of_rows_does_not_matter():
    rows = messy()
    shuffled = rows.sample(frac=1, random_state=1)
    assert stress_evidence(rows) == stress_evidence(shuffled)


def test_epochs_that_repeat_each_other_do_not_narrow_an_interval():
    once = messy(epochs=1)
    thrice = pd.concat([once.assign(epoch=epoch) for epoch in (1, 2, 3)])
    single, repeated = stress_evidence(once), stress_evidence(thrice)
    assert [c.accuracy for c in single.cells] == [c.accuracy for c in repeated.cells]
    assert single.to_reference == repeated.to_reference
    assert single.worst == repeated.worst


@pytest.mark.parametrize("kind", [object, "boolean"])
def test_language_kept_counts_decided_replies_and_reports_the_rest(kind):
    rows = multilingual().astype({"kept": kind})
    for scores in stress_evidence(rows).cells:
        block = at(rows, scores.cell)
        decided = block[block["kept"].notna()]
        expected = decided["kept"].astype(bool).groupby(decided["item"]).mean().mean()
        assert scores.kept.value == pytest.approx(expected)
        assert scores.undecided.value == pytest.approx(block["kept"].isna().mean())


def test_clean_rows_are_one_cell_whether_protected_or_not():
    rows = messy()
    protected = rows[rows["condition"] != "clean"].assign(protected=True)
    twice = rows[rows["condition"] == "clean"].assign(protected=True, epoch=rows["epoch"] + 3)
    evidence = stress_evidence(pd.concat([rows, protected, twice]))
    clean = [scores for scores in evidence.cells if scores.cell.condition == "clean"]
    assert [(scores.cell.mitigation, scores.asked) for scores in clean] == [("none", 144), ("normalise", 144)]
    assert {difference.reference for difference in evidence.to_reference} == {scores.cell for scores in clean}
    assert sum(difference.cell.protected for difference in evidence.to_reference) == 8


# --- failed rows ---------------------------------------------------------------------------


def test_failed_rows_are_counted_and_move_the_bound_alone():
    rows = messy()
    victim = rows["item"].eq("item-03") & rows.index.isin(at(rows, HEAVY).index)
    rows["score"] = rows["score"].mask(victim, 1.0)  # right in all epochs
    failing = victim & (rows["epoch"] == 2)
    before = {scores.cell: scores for scores in stress_evidence(rows).cells}
    evidence = stress_evidence(fail(rows, failing))
    after = {scores.cell: scores for scores in evidence.cells}
    assert (after[HEAVY].asked, after[HEAVY].failed, evidence.failed) == (72, 1, 1)
    assert after[HEAVY].accuracy == before[HEAVY].accuracy  # the other epochs of the item are right as well
    assert after[HEAVY].strict.value == pytest.approx(before[HEAVY].strict.value - 1 / 72)
    assert evidence.categories[HEAVY]["failed"] == 1
    assert sum(evidence.categories[HEAVY].values()) == 72
    assert all(after[cell] == before[cell] for cell in after if cell != HEAVY)


def test_a_cell_that_failed_throughout_says_nothing_but_keeps_its_rows():
    rows = messy()
    evidence = stress_evidence(fail(rows, pd.Series(rows.index.isin(at(rows, HEAVY).index), rows.index)))
    heavy = next(scores for scores in evidence.cells if scores.cell == HEAVY)
    assert np.isnan(heavy.accuracy.value)
    assert (heavy.strict.value, heavy.failed, heavy.asked) == (0.0, 72, 72)
    gap = next(difference for difference in evidence.to_reference if difference.cell == HEAVY)
    assert np.isnan([gap.estimate.value, gap.p, gap.p_holm]).all()
    others = [difference.p_holm for difference in evidence.to_reference if difference.cell != HEAVY]
    assert others == list(
        holm([difference.p for difference in evidence.to_reference if difference.cell != HEAVY])
    )


# --- differences ---------------------------------------------------------------------------


def test_differences_are_paired_by_item():
    rows = messy()
    evidence = stress_evidence(rows, resamples=300, seed=2)
    counts = draw(24, resamples=300, seed=2).counts
    pairs = [
        (difference, Cell("clean", "", False, difference.cell.mitigation))
        for difference in evidence.to_reference
    ]
    pairs += [
        (difference, Cell(difference.cell.condition, difference.cell.level, False, "none"))
        for difference in evidence.mitigated
    ]
    assert (len(evidence.to_reference), len(evidence.mitigated)) == (8, 5)
    for difference, reference in pairs:
        assert difference.reference == reference
        means = [
            at(rows, cell).groupby("item")["score"].mean().to_numpy() for cell in (difference.cell, reference)
        ]
        gap = means[0] - means[1]
        drawn = [np.repeat(gap, c.astype(int)).mean() for c in counts]
        assert difference.estimate.value == pytest.approx(gap.mean())
        assert (difference.estimate.low, difference.estimate.high) == pytest.approx(
            tuple(np.quantile(drawn, [0.025, 0.975]))
        )
        assert difference.p == pytest.approx(sign_flip_p(gap))
    for family in (evidence.to_reference, evidence.mitigated):
        assert [difference.p_holm for difference in family] == pytest.approx(
            holm([difference.p for difference in family])
        )


def test_pairing_removes_the_variance_that_items_share():
    """Half of the items are always wrong: accuracies have wide intervals, and their difference is 0."""
    rows = messy()
    rows["score"] = (rows["item"].str[-1].astype(int) % 2).astype(float)
    evidence = stress_evidence(rows)
    assert all(scores.accuracy.high - scores.accuracy.low > 0.3 for scores in evidence.cells)
    gaps = [difference.estimate for difference in (*evidence.to_reference, *evidence.mitigated)]
    assert all((gap.value, gap.low, gap.high) == (0, 0, 0) for gap in gaps)
    assert all(difference.p == 1.0 for difference in evidence.to_reference)


def test_an_item_missing_on_one_side_is_in_no_difference():
    rows = messy()
    gone = rows["item"].eq("item-03") & rows.index.isin(at(rows, HEAVY).index)
    for changed in (rows[~gone], fail(rows, gone)):
        gap = next(
            difference for difference in stress_evidence(changed).to_reference if difference.cell == HEAVY
        )
        rest = rows[rows["item"] != "item-03"]
        assert gap.estimate.items == 23
        assert gap.estimate.value == pytest.approx(
            at(rest, HEAVY)["score"].mean() - at(rest, CLEAN)["score"].mean()
        )


def test_interval_of_a_difference_has_its_nominal_coverage():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(400):
        skill = rng.beta(2, 1, 60)
        right = {CLEAN: rng.binomial(3, 0.95 * skill) / 3, HEAVY: rng.binomial(3, 0.8 * skill) / 3}
        (gap,) = cell_differences(draw(60, resamples=200, seed=trial), right, [(HEAVY, CLEAN)])
        hits += gap.estimate.low <= -0.15 * 2 / 3 <= gap.estimate.high
    assert 0.91 <= hits / 400 <= 0.98


# --- flips, worst case, doses --------------------------------------------------------------


def test_flips_are_counted_over_all_pairs_of_epochs():
    rows = messy(items=15)
    for flips in stress_evidence(rows).flips:
        wrong, right, floor = [], [], []
        for item in sorted(rows["item"].unique()):
            mine = rows[rows["item"] == item]
            here, there = (at(mine, cell)["score"].to_list() for cell in (flips.cell, flips.reference))
            wrong.append(np.mean([a == 1 and b == 0 for a, b in itertools.product(there, here)]))
            right.append(np.mean([a == 0 and b == 1 for a, b in itertools.product(there, here)]))
            floor.append(np.mean([a == 1 and b == 0 for a, b in itertools.permutations(there, 2)]))
        assert flips.to_wrong.value == pytest.approx(np.mean(wrong))
        assert flips.to_right.value == pytest.approx(np.mean(right))
        assert flips.floor.value == pytest.approx(np.mean(floor))


def test_flips_to_wrong_less_flips_to_right_are_the_difference():
    evidence = stress_evidence(messy())
    for flip, gap in zip(evidence.flips, evidence.to_reference, strict=True):
        assert flip.to_right.value - flip.to_wrong.value == pytest.approx(gap.estimate.value)
    assert all(np.isnan(flips.floor.value) for flips in stress_evidence(messy(epochs=1)).flips)


def test_worst_case_asks_an_item_to_be_right_under_all_within_an_epoch():
    rows = messy()
    evidence = stress_evidence(rows)
    assert [(worst.level, worst.mitigation) for worst in evidence.worst] == [
        ("light", "none"),
        ("heavy", "none"),
        ("light", "normalise"),
        ("heavy", "normalise"),
    ]
    for worst in evidence.worst:
        block = rows[(rows["level"] == worst.level) & (rows["mitigation"] == worst.mitigation)]
        assert worst.all_right.value == pytest.approx(block.groupby(["item", "epoch"])["score"].min().mean())
        by_condition = block.groupby("condition")["score"].mean()
        assert (worst.lowest, worst.lowest_accuracy) == (
            by_condition.idxmin(),
            pytest.approx(by_condition.min()),
        )
        assert worst.conditions == ("ocr", "typos")
        assert worst.left_out == 0
        assert worst.all_right.value <= worst.lowest_accuracy


def test_a_failure_leaves_its_epoch_out_of_the_worst_case():
    rows = messy()
    failing = rows.index.isin(at(rows, HEAVY).index) & (rows["epoch"] == 2)
    worst = next(
        w for w in stress_evidence(fail(rows, failing)).worst if (w.level, w.mitigation) == ("heavy", "none")
    )
    block = rows[(rows["level"] == "heavy") & (rows["mitigation"] == "none") & (rows["epoch"] != 2)]
    assert worst.left_out == 24
    assert worst.all_right.value == pytest.approx(block.groupby(["item", "epoch"])["score"].min().mean())


def test_worst_cases_are_sorted_by_rate_and_not_by_level_name():
    rows = messy(8, levels=("heavy", "0.1", "light", "0.025"))
    for mitigation in ("none", "normalise"):
        levels = [worst.level for worst in stress_evidence(rows).worst if worst.mitigation == mitigation]
        assert levels == ["0.025", "light", "0.1", "heavy"]


def test_languages_are_grouped_for_every_column_type():
    rows = multilingual()
    nullable = rows.assign(condition=rows["condition"].astype("string"))
    assert stress_evidence(nullable).worst == stress_evidence(rows).worst != ()


def test_the_worst_case_of_languages_includes_english():
    worst = stress_evidence(multilingual()).worst
    assert [(case.mitigation, case.conditions) for case in worst] == [
        ("none", ("english", "hindi", "hinglish")),
        ("pin", ("english", "hindi", "hinglish")),
    ]


def test_slope_of_a_ladder_is_least_squares_and_its_interval_resamples_items():
    rows = messy(levels=("0.1", "0.2", "0.4"), items=30)
    counts = draw(30, resamples=200, seed=0).counts
    evidence = stress_evidence(rows, resamples=200)
    assert len(evidence.doses) == 4
    for dose in evidence.doses:
        cells = [Cell("clean", "", False, dose.mitigation)]
        cells += [Cell(dose.condition, level, False, dose.mitigation) for level in ("0.1", "0.2", "0.4")]
        shares = np.stack([at(rows, cell).groupby("item")["score"].mean() for cell in cells])
        assert dose.rates == (0.0, 0.1, 0.2, 0.4)
        assert [accuracy.value for accuracy in dose.accuracies] == pytest.approx(shares.mean(axis=1))
        assert dose.slope.value == pytest.approx(stats.linregress(dose.rates, shares.mean(axis=1)).slope / 10)
        slopes = [stats.linregress(dose.rates, shares @ c / 30).slope / 10 for c in counts]
        assert (dose.slope.low, dose.slope.high) == pytest.approx(tuple(np.quantile(slopes, [0.025, 0.975])))
    assert stress_evidence(messy()).doses == ()  # two levels are no ladder


# --- unusable rows -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["score", "kept"]), "lacks the columns score, kept"),
        (lambda rows: rows.iloc[:0], "is empty"),
        (lambda rows: pd.concat([rows, rows.assign(model="mock/two")]), "several evals or models"),
        (lambda rows: rows.assign(score=rows["score"].mask(rows["epoch"] == 1)), "lack a score"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(Mistake, match=message):
        stress_evidence(change(messy()))


def test_rows_are_split_by_eval_and_model():
    rows = pd.concat([messy(), multilingual(), messy().assign(model="mock/a")])
    names = [(block["eval"].iloc[0], block["model"].iloc[0]) for block in split_rows(rows)]
    assert names == [("messy", "mock/a"), ("messy", "mock/one"), ("multilingual", "mock/one")]


def test_no_deep_learning_stack_is_needed():
    code = (
        "import sys, lowland.evidence.stress, lowland.evidence.stress_adapters, lowland.evidence.ratings\n"
        "assert not {'torch', 'transformers', 'inspect_ai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
