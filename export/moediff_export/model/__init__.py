"""MoEDiff-SR in PyTorch: autoencoder, conditioner, gate and experts, one file each."""

from ..config import ModelConfig
from .autoencoder import Decoder, Encoder, RegressionUNet, VectorQuantizer
from .conditioner import Conditioner
from .experts import EXPERTS, CentrumSemiovaleExpert, CortexExpert, Expert, JunctionExpert
from .gate import Gate
from .moediff import MoEDiffSR, Prediction

__all__ = [
    "EXPERTS",
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
    "RegressionUNet",
    "VectorQuantizer",
    "build_model",
]


def build_model(config: ModelConfig) -> MoEDiffSR | RegressionUNet:
    """The network that a configuration describes."""
    return MoEDiffSR(config) if config.experts else RegressionUNet(config)
