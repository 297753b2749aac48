"""What a run cost, and (in time) how flat it came to rest."""

from lowland.measure.cost import Meter

__all__ = ["Meter"]
