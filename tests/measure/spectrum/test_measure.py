"""Spectra of runs: what the table holds, that it can be repeated, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress, no_remark
from lowland.measure.space import FULL, Space
from lowland.measure.spectrum import measure as module
from lowland.measure.spectrum.measure import COLUMNS, Spectra, measure_spectrum
from lowland.measure.spectrum.products import hessian_product
from lowland.measure.spectrum.settings import SpectrumSample, SpectrumSettings
from lowland.measure.subject import load_subject

SAMPLE = SpectrumSample(limit=8, batch_size=4)
SMALL = {"top": 2, "steps": 6, "probes": 2, "probe_steps": 2}


def spectra(runs: list[Path], **changes: object) -> Spectra:
    return measure_spectrum(SpectrumSettings(runs=runs, **{**SMALL, **changes}), SAMPLE)


@pytest.fixture(scope="module")
def measured(study: dict[str, list[Path]]) -> Spectra:
    return spectra([*study["lora"], study["full"][0]])


def test_table_has_each_quantity_of_each_matrix_in_each_space(measured: Spectra) -> None:
    table = measured.table
    assert tuple(table) == COLUMNS
    counts = table.groupby(["method", "seed", "space", "matrix", "quantity"]).size()
    spaces = {"lora": ("full", "adapter"), "full": ("full",)}
    expected = {
        (method, seed, space, matrix, quantity): count
        for method, seeds in (("lora", (1, 2)), ("full", (1,)))
        for seed in seeds
        for space in spaces[method]
        for matrix, quantities in (
            ("", {"loss": 1}),
            *(
                (matrix, {"eigenvalue": 2, "smallest_eigenvalue": 1, "trace": 1, "density": 1000})
                for matrix in ("hessian", "gauss-newton")
            ),
        )
        for quantity, count in quantities.items()
    }
    assert counts.to_dict() == expected
    assert (measured.split, measured.examples, measured.methods) == ("train", 8, ["lora", "full"])
    assert table["at"].notna().equals(table["quantity"] == "density")
    assert np.isfinite(table[["value", "error"]].to_numpy()).all()


def test_largest_eigenvalue_is_within_its_error_of_scipys(
    study: dict[str, list[Path]], measured: Spectra
) -> None:
    run = study["lora"][1]
    subject = load_subject(run, no_remark)
    space = subject.space(FULL)
    batches = subject.sample("train", limit=8, batch_size=8).batches

    def product(vector: np.ndarray) -> np.ndarray:
        return hessian_product(space, batches, torch.from_numpy(vector.astype(np.float32)).flatten()).numpy()

    operator = LinearOperator((space.dimension, space.dimension), matvec=product, dtype=np.float32)
    largest = float(eigsh(operator, k=1, which="LA", tol=1e-4, return_eigenvectors=False)[0])
    rows = measured.table.query("run == @run.name and space == 'full' and matrix == 'hessian'")
    ours = rows.query("quantity == 'eigenvalue' and index == 1").iloc[0]
    assert abs(ours["value"] - largest) <= ours["error"] + 1e-3 * largest


def test_loss_is_the_mean_of_the_sample(study: dict[str, list[Path]], measured: Spectra) -> None:
    subject = load_subject(study["full"][0], no_remark)
    space, (batch,) = subject.space(FULL), subject.sample("train", limit=8, batch_size=8).batches
    losses = space.losses(space.center, batch)
    row = measured.table.query("method == 'full' and quantity == 'loss'").iloc[0]
    assert row["value"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert row["error"] == pytest.approx(float(losses.std()) / np.sqrt(8), rel=1e-4)


def test_same_settings_give_the_same_numbers_in_any_company(
    study: dict[str, list[Path]], measured: Spectra
) -> None:
    alone = spectra([study["lora"][1]], spaces=("adapter",)).table
    among = measured.table.query("method == 'lora' and seed == 2 and space == 'adapter'")
    pd.testing.assert_frame_equal(alone, among.reset_index(drop=True))


def test_gauss_newton_matrix_has_no_negative_eigenvalue(measured: Spectra) -> None:
    rows = measured.table.query(
        "matrix == 'gauss-newton' and quantity in ('eigenvalue', 'smallest_eigenvalue')"
    )
    assert (rows["value"] >= -1e-4 * rows["value"].max()).all()


def test_run_whose_adapter_is_gone_is_refused_before_any_is_measured(
    study: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = shutil.copytree(study["lora"][0], tmp_path / study["lora"][0].name)
    (broken / "adapter" / "adapter_model.safetensors").unlink()
    monkeypatch.setattr(module, "load_subject", None)
    with pytest.raises(Mistake, match=r"adapter_model\.safetensors: missing, or changed"):
        spectra([study["lora"][1], broken])


def test_loss_that_is_not_finite_is_refused(
    study: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = Space.losses
    monkeypatch.setattr(Space, "losses", lambda *arguments: losses(*arguments) * float("inf"))
    with pytest.raises(Mistake, match="is not finite at its trained weights; leave it out"):
        spectra([study["lora"][0]])


def test_derivatives_that_are_not_finite_are_refused(
    study: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.PRODUCTS, "hessian", lambda space, batches, vector: vector / 0)
    with pytest.raises(Mistake, match=r"derivatives of the loss .* are not finite"):
        spectra([study["lora"][0]])


def test_more_eigenvalues_than_weights_are_refused(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake, match=r"top is 5000, and the adapter space of .* has [\d,]+ weights"):
        spectra([study["lora"][0]], top=5000, steps=5000, spaces=("adapter",))


def test_more_eigenvalues_than_steps_are_refused(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake, match=r"top is 9 and steps is 4; .*raise --steps"):
        SpectrumSettings(runs=[study["lora"][0]], top=9, steps=4)


def test_unknown_reference_and_words_counted_are_refused_together(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake) as mistake:
        spectra([study["lora"][0], study["bag-of-words"][0]], reference="lorra")
    assert "did you mean 'lora'?" in mistake.value.problems[0]
    assert "trains no network; leave it out" in mistake.value.problems[1]


def test_progress_counts_every_product(study: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    totals, steps = [], []

    class Counting(Progress):
        def bar(self, total: int, **words: str):  # type: ignore[no-untyped-def, override]
            totals.append(total)
            bar = super().bar(total, **words)
            bar.step = lambda count=1: steps.append(count)  # type: ignore[method-assign]
            return bar

    measure_spectrum(SpectrumSettings(runs=[study["lora"][0]], **SMALL), SAMPLE, progress=Counting())
    assert totals == [sum(steps)] == [40]
