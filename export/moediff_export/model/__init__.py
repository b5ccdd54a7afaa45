"""MoEDiff-SR in PyTorch: autoencoder, conditioner, gate and experts, one file each."""

from .autoencoder import Decoder, Encoder, VectorQuantizer
from .conditioner import Conditioner
from .experts import CentrumSemiovaleExpert, CortexExpert, Expert, JunctionExpert
from .gate import Gate
from .moediff import MoEDiffSR, Prediction

__all__ = [
    "CentrumSemiovaleExpert",
    "Conditioner",
    "CortexExpert",
    "Decoder",
    "Encoder",
    "Expert",
    "Gate",
    "JunctionExpert",
    "MoEDiffSR",
    "Prediction",
    "VectorQuantizer",
]
