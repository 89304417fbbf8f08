"""plantgate: between a plant's machines, its AI and its business systems, with nothing lost silently."""

__version__ = "0.1.0"
