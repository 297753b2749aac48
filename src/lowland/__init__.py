"""Fine-tune with low-rank adapters that come to rest on flat land, and prove whether it helped.

The public names stand in `__init__.pyi`. They are loaded when they are first used, so that `import lowland` and the
rooms of evidence and reports need no torch.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
