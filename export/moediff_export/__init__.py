"""Authoring side of moediff-rt: the PyTorch reference of MoEDiff-SR, its training and its export to a bundle."""

__version__ = "0.1.0"
