"""Flat-LoRA (Li et al., ICML 2025, arXiv 2409.14396): LoRA training under random noise on the merged weight.

Training minimises E[L(W + s·BA + eps)] over A and B, with eps drawn anew at each optimizer step on the *merged full
weight*, so that the minimum is flat in the full space and not only in LoRA's.

Read `noise.py` and `product.py` first (what is drawn, and the product with it), then `bank.py` (the random numbers),
`perturbed.py` (when noise acts in a module), `layers.py` (lowland's layers and PEFT's), `arming.py` (a model) and
`callback.py` (a Trainer). `config.py` and `schedule.py` hold the options, `checks.py` what is refused, `vectors.py`
noise on norms and biases, `losses.py` and `auto.py` how strong the noise may be.

The public names are listed in `__init__.pyi` and loaded when they are first used, so that `lowland.flat.config` and
`lowland.flat.schedule` can be imported without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
