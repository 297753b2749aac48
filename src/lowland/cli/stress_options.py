"""The options of `lowland stress …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jsonargparse import ArgumentParser

from lowland.cli.stress import STRESS


def add_stress(parser: ArgumentParser) -> None:
    """The verbs of `lowland stress`, each with its options."""
    verbs = parser.add_subcommands(required=True, dest="what", metavar="WHAT")
    for name, verb in STRESS.items():
        one = ArgumentParser(description=verb.__doc__)
        OPTIONS_OF[name](one)
        verbs.add_subcommand(name, one, help=str(verb.__doc__))


def _add_messy(parser: ArgumentParser) -> None:
    parser.add_argument("--items", type=str | None, help="a file of questions of your own, .jsonl")
    parser.add_argument(
        "--corruptions",
        nargs="+",
        type=str,
        default=["all"],
        help="what happens to the text",
    )
    _add_damage(parser)
    _add_mitigations(parser, "none, prompt, normalise, both")
    _add_asking(parser)


def _add_multilingual(parser: ArgumentParser) -> None:
    parser.add_argument("--items", type=str | None, help="a folder of items and languages of your own")
    parser.add_argument("--languages", nargs="+", type=str, default=["all"], help="besides English")
    _add_mitigations(parser, "none, pin")
    _add_asking(parser)


def _add_damage(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--levels",
        nargs="+",
        type=str,
        default=["light", "heavy"],
        help="light, heavy, ladder, or rates as 0.1",
    )
    parser.add_argument(
        "--protect", type=str, default="no", help="leave names and numbers alone: no, yes, or both ways"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the damage")


def _add_mitigations(parser: ArgumentParser, allowed: str, default: str = "all") -> None:
    parser.add_argument("--mitigations", nargs="+", type=str, default=[default], help=allowed)


def _add_asking(parser: ArgumentParser) -> None:
    parser.add_argument("--model", type=str | None, help="one that Inspect knows, as provider/name")
    parser.add_argument("--model-args", dest="model_args", type=str | None, help="the provider's, as JSON")
    parser.add_argument("--base-url", dest="base_url", type=str | None, help="of the provider's server")
    parser.add_argument(
        "--epochs",
        type=int | None,
        help="how often each is asked",
    )
    parser.add_argument("--limit", type=int | None, help="the first so many items alone")
    parser.add_argument("--temperature", type=float | None)
    parser.add_argument("--max-tokens", dest="max_tokens", type=int | None, help="of a reply")
    parser.add_argument(
        "--reasoning-effort", dest="reasoning_effort", type=str | None, help="none keeps thinking off"
    )
    parser.add_argument(
        "--extra-body",
        dest="extra_body",
        type=str | None,
        help="into each request as it is, as JSON: settings that a provider drops",
    )
    _add_pace(parser)
    _add_budget(parser)
    _add_out(parser)


def _add_pace(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--max-connections",
        dest="max_connections",
        type=int | None,
        help="requests at a time",
    )
    parser.add_argument("--max-retries", dest="max_retries", type=int | None, help="of a request that failed")
    parser.add_argument(
        "--attempt-timeout",
        dest="attempt_timeout",
        type=int | None,
        help="seconds, then it is asked again",
    )


def _add_budget(parser: ArgumentParser) -> None:
    parser.add_argument("--max-requests", dest="max_requests", type=int | None, help="stop asking there")
    parser.add_argument(
        "--max-cost", dest="max_cost", type=float | None, help="stop asking there, US dollars"
    )
    parser.add_argument(
        "--prices",
        type=str | None,
        help="a table, YAML: model: {input: 3, output: 15}, dollars per million tokens",
    )
    parser.add_argument("--yes", action="store_true", help="ask a paid provider without a question first")


def _add_out(parser: ArgumentParser) -> None:
    parser.add_argument("--fresh", action="store_true", help="ask anew what was finished before")
    parser.add_argument("--out", type=str, default="runs", help="folder of the records")
    parser.add_argument("--report", type=str | None, help="write the whole story to this file, Markdown")


def _add_adapter(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="folders of finished runs of one study")
    parser.add_argument(
        "--corruptions", nargs="+", type=str, default=["all"], help="what happens to the text"
    )
    _add_damage(parser)
    _add_mitigations(parser, "none, normalise", default="none")
    parser.add_argument("--limit", type=int | None, help="so many texts of each test set, drawn by the seed")
    parser.add_argument("--data", type=str | None, help="the task's file, if it has moved")
    parser.add_argument(
        "--test-data", dest="test_data", type=str | None, help="its test file, if it has moved"
    )
    _add_out(parser)


def _add_report(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="folders of stress tests")
    parser.add_argument("--out", type=str | None, help="write to this file instead of printing")


def _add_sheet(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="folders of stress tests")
    parser.add_argument("--count", type=int, default=60, help="replies to rate")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument(
        "--out", type=str, default="ratings.csv", help="the sheet; people fill in its column fluency"
    )


def _add_merge_back(parser: ArgumentParser) -> None:
    parser.add_argument("ratings", type=str, help="a sheet that people filled in, CSV")
    parser.add_argument(
        "--runs", nargs="+", type=str, required=True, help="folders of the stress tests it is of"
    )
    parser.add_argument("--judge", type=str | None, help="a model that rates the same replies")
    parser.add_argument("--out", type=str, default="rated.csv", help="the rated rows")


OPTIONS_OF: Mapping[str, Callable[[ArgumentParser], None]] = {
    "messy": _add_messy,
    "multilingual": _add_multilingual,
    "adapter": _add_adapter,
    "report": _add_report,
    "sheet": _add_sheet,
    "merge-back": _add_merge_back,
}
