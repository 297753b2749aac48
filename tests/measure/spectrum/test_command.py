"""`lowland measure spectrum` from the command line: what is printed and written, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland.evidence.readers.measurements import read_measurements

Command = Callable[..., tuple[int, str, str]]
SMALL = ("--limit", "8", "--steps", "5", "--top", "2", "--probes", "2", "--probe-steps", "1")


def measure(lowland: Command, *words: str | Path) -> tuple[int, str, str]:
    return lowland(["measure", "spectrum"][0], "spectrum", *map(str, words), small=False)


def test_report_has_a_table_for_each_matrix_and_space_and_sentences(
    lowland: Command, study: dict[str, list[Path]], tmp_path: Path
) -> None:
    out_file = tmp_path / "spectrum.parquet"
    runs = [*study["lora"], *study["flat-lora"]]
    code, out, err = measure(lowland, *runs, *SMALL, "--out", out_file)
    assert code == 0, err
    assert out.startswith("Curvature of the mean loss on 8 examples of train. ±")
    titles = [line for line in out.splitlines() if line.startswith("## ")]
    assert titles == [
        f"## {matrix}, {space}"
        for space in ("full space (merged weights)", "adapter's space (A and B)")
        for matrix in ("Hessian", "Gauss-Newton matrix")
    ]
    header = ("method", "seed", "loss", "eigenvalue 1", "eigenvalue 2", "trace", "smallest seen")
    headers = [line for line in out.splitlines() if line.startswith("| method")]
    entries = [tuple(entry.strip() for entry in line.strip("|").split("|")) for line in headers]
    assert entries == [header, header[:-1]] * 2  # the Gauss-Newton matrix has no negative eigenvalue
    assert out.count("The largest eigenvalue of flat-lora is ") == 4
    assert "2 seeds; p " in out
    assert f"the densities on a grid, are in {out_file}" in out
    table = pd.read_parquet(out_file)
    first = table.query("quantity == 'eigenvalue' and index == 1 and matrix == 'hessian' and space == 'full'")
    assert len(first) == 4
    assert all(f"{value:.4g} ± " in out for value in first["value"])
    read = read_measurements([out_file]).spectrum
    assert read is not None
    assert list(read["value"]) == list(table["value"])
    assert set(read["run"]) == {path.name for path in runs}
    code, _, err = measure(lowland, *runs, *SMALL, "--out", out_file)
    assert (code, "exists; name another file with --out" in err) == (2, True)


def test_json_holds_figures_and_comparisons(lowland: Command, study: dict[str, list[Path]]) -> None:
    runs = [study["lora"][0], study["full"][0]]
    options = ("--matrices", "gauss-newton", "--split", "test", "--json")
    code, out, err = measure(lowland, *runs, *SMALL, *options)
    assert code == 0, err
    content = json.loads(out)
    assert (content["reference"], content["split"], content["examples"]) == ("lora", "test", 8)
    assert {row["matrix"] for row in content["figures"]} == {"", "gauss-newton"}
    assert {row["quantity"] for row in content["figures"]} == {
        "loss",
        "eigenvalue",
        "smallest_eigenvalue",
        "trace",
    }
    assert [(row["method"], row["quantity"]) for row in content["against"]] == [
        ("full", "eigenvalue"),
        ("full", "trace"),
    ]
    assert content["against"][0]["p"] is None


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ((), ["runs is missing"]),
        (("FULL", "--spaces", "adapter"), ["has no factors A and B", "--spaces full"]),
        (("LORA", "--split", "tests"), ["no split 'tests'; it has test, train, validation"]),
        (("LORA", "--matrices", "fisher"), ["fisher"]),
        (("LORA", "--top", "20"), ["top is 20 and steps is 15", "raise --steps"]),
        (("LORA", "--steps", "1000000000"), ["steps is 1,000,000,000", "GiB are free; lower --steps"]),
        (("LORA", "--top", "0"), ["top is 0; it must be at least 1"]),
        (("LORA", "--probes", "1"), ["probes is 1; it must be at least 2"]),
        (("LORA", "--out", "spectrum.txt"), ["ends in none of .csv, .parquet, .jsonl"]),
        (("nowhere",), ["nowhere"]),
    ],
)
def test_mistakes_are_sentences_with_exit_code_2(
    lowland: Command, study: dict[str, list[Path]], words: tuple[str, ...], problems: list[str]
) -> None:
    places = {"FULL": str(study["full"][0]), "LORA": str(study["lora"][0])}
    code, out, err = measure(lowland, *(places.get(word, word) for word in words))
    assert (code, out) == (2, "")
    assert all(problem in err for problem in problems), err
    assert "Traceback" not in err
