"""Silence warnings of other libraries; their errors are still shown."""

from __future__ import annotations

import logging
import os

from lowland.train.processes import process_count

NOISY = ("torchao", "bitsandbytes", "torch.utils._pytree")
"""Loggers that warn at import about things that users can do nothing about, such as kernels for other machines."""


def quiet_libraries() -> None:
    """Silence warnings and progress bars of other libraries.

    Call this before importing them, because some log during import.
    """
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if process_count() > 1:  # DDP advises an option that is not safe for every model
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
