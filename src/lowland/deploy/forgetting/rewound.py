"""Writing of a rewound run: a run's folder with the scaled adapter, which every command reads as that of a run."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from lowland.deploy.forgetting.rewind import Rewound
from lowland.ground.provenance import hashes_in, utc_now
from lowland.ground.record_files import write_predictions, write_record
from lowland.ground.records import RunRecord
from lowland.ground.store import Store, key_of, making_parents
from lowland.lora import copy_scaled

HISTORY = "history.jsonl"


def write_rewound(rewound: Rewound, out: Path) -> None:
    """Write a run with the adapter of the chosen scale: all of it, or nothing.

    The folder has the original run's history, the scaled adapter in PEFT's format, and the scores and predictions of
    that adapter. Its record names the original run.

    Args:
        rewound: the rewound run.
        out: folder to write; new, or empty.

    Raises:
        OSError: if it cannot be written.
    """
    with (
        making_parents(out),
        TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as beside,
    ):
        with Store(beside).writing(out.name) as partial:
            copy_scaled(rewound.run / "adapter", partial / "adapter", rewound.chosen)
            if (rewound.run / HISTORY).is_file():
                shutil.copyfile(rewound.run / HISTORY, partial / HISTORY)
            write_predictions(partial, rewound.tests[rewound.chosen].predictions)
            write_record(partial, record_of(rewound, hashes_in(partial / "adapter")))
        (Path(beside) / out.name).rename(out)


def record_of(rewound: Rewound, hashes: dict[str, str]) -> RunRecord:
    """Return the record of the run with the scaled adapter.

    Args:
        rewound: the rewound run.
        hashes: SHA-256 of each file of the adapter, by its name.
    """
    original, scale = rewound.record, rewound.chosen
    method = original.asked["method"]
    asked = {
        **original.asked,
        "method": {**method, "label": f"{method['label']}-x{scale:g}"},
        "rewind": {"scale": scale, "scales": list(rewound.validation), "run": original.key},
    }
    test = rewound.tests[scale]
    sentence = (
        f"the adapter is that of the run {original.key}, with its scale multiplied by {scale:g}, the best of"
        f" {len(rewound.validation)} on validation data; it was not trained again"
    )
    return dataclasses.replace(
        original,
        key=key_of({"rewind": asked["rewind"], "files": hashes}),
        asked=asked,
        scores=test.scores,
        class_scores=test.class_scores,
        validation=dict(rewound.validation[scale]),
        when={**original.when, "ended": utc_now()},
        remarks=[*original.remarks, sentence],
        files={f"adapter/{name}": sha256 for name, sha256 in hashes.items()},
    )
