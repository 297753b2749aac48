"""What other libraries print, which would drown our own lines; their errors still show."""

from __future__ import annotations

import logging
import os

NOISY = ("torchao", "bitsandbytes", "torch.utils._pytree")
"""Loggers that warn at import of what nobody can do anything about: kernels for other machines, each other's names."""


def quiet_libraries() -> None:
    """Have them keep quiet. To be called before they are imported: some speak at once."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging as notes

    notes.set_verbosity_error()
    notes.disable_progress_bar()
