"""Other libraries' notes, which would drown lowland's own lines; their errors still show."""

from __future__ import annotations

import logging
import os

NOISY = ("torchao", "bitsandbytes", "torch.utils._pytree")
"""Loggers that warn at import about things that users can do nothing about, such as kernels for other machines."""


def quiet_libraries() -> None:
    """Silence the notes of other libraries. Call it before they are imported: some speak at once."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
