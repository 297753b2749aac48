"""Diagnosis of a trained adapter: what is broken, what was not learned, and what is wasted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lowland.deploy.find import Adapted, find_adapted
from lowland.deploy.load import load_base, put_adapter
from lowland.ground.mistakes import Mistake, plural
from lowland.lora.peft_config import CONFIG_FILE
from lowland.lora.spectrum import spectra
from lowland.measure.adapter_files import AdapterFile, read_adapter
from lowland.measure.diagnosis.finding import Finding
from lowland.measure.diagnosis.merged import merge_findings
from lowland.measure.diagnosis.saved import BROKEN, without_factors
from lowland.measure.diagnosis.trained import LEARNED
from lowland.measure.tuned import base_weight
from lowland.models.load import LoadedModel


@dataclass(frozen=True)
class Diagnosis:
    """Diagnosis of an adapter.

    Attributes:
        title: what it is: kind, rank, scale, number of layers.
        findings: what was found.
        loads: whether it can be loaded into its base model; None if that model cannot be found.
    """

    title: str
    findings: tuple[Finding, ...]
    loads: bool | None

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.verdict != "FAIL" for finding in self.findings)


def diagnose(folder: Path, model: str | None = None) -> Diagnosis:
    """Return a diagnosis of an adapter; without its base model, that of its files alone.

    Args:
        folder: folder of a run, or of an adapter in PEFT's format.
        model: the base model; default: the one that the run or the adapter names.

    Raises:
        Mistake: if there is no adapter, or its files cannot be read at all.
    """
    inside = folder / "adapter" if (folder / "record.json").is_file() else folder
    if not (inside / CONFIG_FILE).is_file():
        find_adapted(folder, model)  # it says what is there instead
    file = read_adapter(inside)
    findings = file_findings(file)
    is_whole = not any(finding.verdict == "FAIL" for finding in findings)
    try:
        adapted = find_adapted(folder, model)
        loaded = load_base(adapted.base)
    except Mistake as mistake:
        reason = "; ".join(mistake.problems)
        left_out = Finding(
            "note", "base model", f"what depends on it is left out, since it cannot be used: {reason}"
        )
        return Diagnosis(_title(file), (*findings, left_out), None)
    if not file.adds_product:
        more = ", ".join([file.kind, *file.variants])
        sentence = (
            f"the adapter ({more}) is more than s·BA, so what depends on the base's weights is left out"
        )
        return Diagnosis(_title(file), (*findings, Finding("note", "kind", sentence)), is_whole or None)
    with_base, loads = _base_findings(file, adapted, loaded, is_whole)
    findings += with_base
    return Diagnosis(
        _title(file), tuple(findings or [Finding("ok", "diagnosis", "nothing suspicious")]), loads
    )


def _title(file: AdapterFile) -> str:
    ranks = Counter(len(layer.a) for layer in file.factors.values())
    scales = Counter(layer.scaling for layer in file.factors.values())
    r = "/".join(f"{rank}" for rank in sorted(ranks)) or "?"
    s = "/".join(f"{scale:g}" for scale in sorted(scales)) or "?"
    base = file.config.get("base_model_name_or_path") or "an unnamed model"
    return f"{file.kind or 'adapter'}, r = {r}, s = {s}, {plural(len(file.factors), 'layer')} of {base}"


def file_findings(file: AdapterFile) -> list[Finding]:
    """Return what an adapter's folder shows without its base model."""
    if not file.factors:
        return without_factors(file)
    findings = [finding for check in BROKEN for finding in check(file)]
    if any(finding.name in ("NaN", "scale") for finding in findings):
        return findings  # nothing else can be measured
    spectrum = spectra(file.factors)
    return findings + [finding for check in LEARNED for finding in check(file, spectrum)]


def _base_findings(
    file: AdapterFile, adapted: Adapted, loaded: LoadedModel, is_whole: bool
) -> tuple[list[Finding], bool]:
    """Return what the adapter shows beside its base's weights, and whether it can be loaded into the base."""
    findings: list[Finding] = []
    if is_whole:
        modules = dict(loaded.model.named_modules())
        weights = {
            name: weight
            for name, layer in file.factors.items()
            if (weight := base_weight(modules, loaded.model, name, layer)) is not None
        }
        findings += merge_findings(file.factors, weights)
    try:
        put_adapter(loaded, adapted)
    except Mistake as mistake:
        problems = mistake.problems if is_whole else ()  # else it is said already why
        return [*findings, *(Finding("FAIL", "loading", problem) for problem in problems)], False
    return findings, True
