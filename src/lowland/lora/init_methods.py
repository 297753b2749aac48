"""Initialisations of PEFT's adapters (`init_lora_weights`), and which of them change the weights of the base.

The tests measure each value with PEFT: whether it leaves the base as it was, and whether the saved folder, loaded onto
an unchanged base, gives the outputs of the trained model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LEAVE_THE_BASE = ("gaussian", "orthogonal", "eva", "mica")
"""Values, beside true and false, that set A and B alone. PEFT ignores their case."""
SUBTRACTED = ("pissa", "olora", "corda", "lora_ga")
"""Values that subtract the product of the first A and B from the base's weights; also `pissa_niter_…`."""
QUANTISED = "loftq"
"""Value that quantises the base's weights."""
INIT_SETTINGS = ("eva_config", "corda_config", "lora_ga_config", "loftq_config")
"""Fields of PEFT's config that only `init_lora_weights` uses."""
INIT_FIELD = "init_lora_weights"


def init_problem(peft_config: Mapping[str, Any]) -> str | None:
    """Return why lowland cannot read an adapter because of its initialisation, or None if it can."""
    value = peft_config.get(INIT_FIELD, True)
    shown = f"{INIT_FIELD} = {json.dumps(value)}"
    if value in (None, True, False) or str(value).lower() in LEAVE_THE_BASE:
        return None
    if value == QUANTISED:
        return (
            f"{shown}, with which PEFT quantises the base's weights, and it does not hold the changed weights; merge"
            " it by PEFT (merge_and_unload), and save the whole model"
        )
    if _subtracts(value):
        return (
            f"{shown}, with which PEFT subtracts the first B·A from the base's weights, and it does not hold the"
            " changed weights; save the trained adapter by PEFT's save_pretrained with"
            " path_initial_model_for_weight_conversion, which makes it a plain LoRA adapter"
        )
    known = ", ".join(("true", "false", *LEAVE_THE_BASE))
    return f"{shown}; lowland was not tested with this value. It reads adapters with {known}"


def lost_init(peft_config: Mapping[str, Any]) -> str | None:
    """Return the initialisation, with its value, if PEFT does not repeat it when it loads the adapter; else None.

    PEFT repeats PiSSA's and OLoRA's decomposition of the base's weights, and LoftQ's quantisation. It does not repeat
    what depends on data (CorDA, LoRA-GA) or on random numbers (`pissa_niter_…`): the loaded model then has another base
    than the trained one.
    """
    value = peft_config.get(INIT_FIELD, True)
    repeated = value in ("pissa", "olora") or str(value).lower() == "olora"
    return f"{INIT_FIELD} = {json.dumps(value)}" if _subtracts(value) and not repeated else None


def _subtracts(value: object) -> bool:
    """Return whether a value of `init_lora_weights` stands for one of `SUBTRACTED`."""
    return isinstance(value, str) and (value.lower() in SUBTRACTED or value.startswith("pissa"))
