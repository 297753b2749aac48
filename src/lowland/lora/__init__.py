"""LoRA adapters (Hu et al., 2021, arXiv 2106.09685): layers, injection into a model, merging, and files.

Read `linear.py` first: it holds the layer, whose arithmetic is in `fused.py`; `embedding.py` is its counterpart for
embeddings, and `layer.py` the base class of both. Then read `config.py`, `targets.py` and `inject.py` (adding adapters
to a model), `merge.py` (merging them into the weights), `peft_config.py` and `checkpoint.py` (files in PEFT's format)
and `plus.py` (a higher learning rate for B). `scale.py` scales a trained adapter. `bases.py` reads the weight of every
kind of layer.

The public names are listed in `__init__.pyi` and loaded when they are first used, so that `lowland.lora.config` can be
imported without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
