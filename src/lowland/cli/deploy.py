"""`lowland predict`, `merge` and `check`."""

from __future__ import annotations

import sys

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.deploy.settings import CheckSettings, MergeSettings, PredictSettings
from lowland.ground.store import write_whole


def predict(settings: PredictSettings) -> int:
    """Predict labels or answers for texts with a run, an adapter or a complete model."""
    quiet_libraries()
    from lowland.deploy.table import predict as predict_texts
    from lowland.ground.progress import Progress

    predictions = predict_texts(settings, Progress(sys.stderr).remark)
    if predictions.scores is not None:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in predictions.scores.items())
        print(f"{len(predictions.table)} rows: {scores}", file=sys.stderr)
    text = predictions.as_text(settings.out)
    if settings.out is None:
        print(text, end="")
    else:
        write_whole(settings.out, text)
    return 0


def merge(settings: MergeSettings) -> int:
    """Merge an adapter into its base model, and save the result if its logits agree."""
    quiet_libraries()
    from lowland.deploy.merge.merging import merge as merge_adapter
    from lowland.ground.progress import Progress

    report = merge_adapter(settings, progress=Progress(sys.stderr))
    for warning in report.warnings():
        print(f"lowland: {warning}", file=sys.stderr)
    print(report.table())
    if report.passed:
        print(f"\nThe merged model is in {settings.out}, with merge_report.json")
        return 0
    for failure in report.failures():
        print(f"lowland: nothing was written: {failure}", file=sys.stderr)
    return 1


def check(settings: CheckSettings) -> int:
    """Run a checklist for LoRA on your own model, after a diagnosis of the adapter if a trained one is given."""
    quiet_libraries()
    from lowland.deploy.checkup import FAIL, check_model

    failed = 0
    if settings.adapter is not None:
        from lowland.measure.diagnosis.diagnose import diagnose

        diagnosis = diagnose(settings.adapter, settings.model)
        print(diagnosis.title)
        for finding in diagnosis.findings:
            _print_check(finding.verdict, finding.name, finding.sentence)
            failed += finding.verdict == FAIL
        if diagnosis.loads is False:
            return 1
    for name, outcome, figures in check_model(settings):
        _print_check(outcome, name, figures)
        failed += outcome == FAIL
    return 1 if failed else 0


def _print_check(verdict: str, name: str, sentence: str) -> None:
    print(f"{verdict.ljust(5)} {name.ljust(16)} {sentence}", flush=True)


PREDICT = command(predict, PredictSettings, positional="run")
MERGE = command(merge, MergeSettings, positional="run")
CHECK = command(check, CheckSettings)
