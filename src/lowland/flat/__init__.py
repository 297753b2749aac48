"""Flat-LoRA (Li et al., ICML 2025, arXiv 2409.14396): how it is learned.

Training minimises E[L(W + s·BA + eps)] over A and B, with eps drawn anew at each optimizer step on the *merged full
weight*, so that the minimum found is flat in the full space and not only in LoRA's.

Read `noise.py` and `product.py` first (what is drawn, and the product with it), then `bank.py` (where the numbers
come from), `perturbed.py` (when a module meets noise), `layers.py` (our layers and PEFT's), `arm.py` (a model) and
`callback.py` (a Trainer). `config.py` and `schedule.py` say what can be asked, `checks.py` what is refused,
`vectors.py` what else can be perturbed, `auto.py` how strong the noise may be.
"""

from lowland.flat.arm import Noise, arm
from lowland.flat.auto import AutoRho, auto_rho, expected_losses
from lowland.flat.callback import FlatLoRA
from lowland.flat.config import FlatConfig
from lowland.flat.schedule import constant, cosine_ramp, linear_ramp

__all__ = [
    "AutoRho",
    "FlatConfig",
    "FlatLoRA",
    "Noise",
    "arm",
    "auto_rho",
    "constant",
    "cosine_ramp",
    "expected_losses",
    "linear_ramp",
]
