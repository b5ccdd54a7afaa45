"""Authoring side of moediff-rt: MoEDiff-SR in PyTorch, its training and its export to a bundle."""

__version__ = "0.1.0"
