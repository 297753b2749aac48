"""Flat-LoRA (Li et al., ICML 2025, arXiv 2409.14396): how it is learned.

Training minimises E[L(W + s·BA + eps)] over A and B, with eps drawn anew at each optimizer step on the *merged full
weight*, so that the minimum found is flat in the full space and not only in LoRA's.
"""

from lowland.flat.callback import FlatLoRA
from lowland.flat.noise import FlatLoRALinear, Noise, arm
from lowland.flat.schedule import cosine_ramp

__all__ = ["FlatLoRA", "FlatLoRALinear", "Noise", "arm", "cosine_ramp"]
