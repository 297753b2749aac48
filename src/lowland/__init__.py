"""Fine-tune language models with low-rank adapters that settle in flat minima, and measure whether it helped.

The public names are listed in `__init__.pyi`. They are loaded when they are first used, so that `import lowland` and
the subpackages `evidence` and `report` need no torch.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
