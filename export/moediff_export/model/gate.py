"""The gate: how much each expert counts, token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import ModelConfig


class Gate(nn.Module):
    """Learned expert queries compared to the tokens; softmax over the experts, per token.

    Source: MoEDiff-SR (Wang et al. 2025), gating network.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.token_dim
        self.key = nn.Linear(dim, dim)
        self.queries = nn.Parameter(torch.randn(len(config.experts), dim) * 0.1)
        # Logits of queries that count for nothing are even, and every parameter still exports.
        self.scale = dim**-0.5 if config.gated else 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Weigh the experts.

        Parameters
        ----------
        tokens : Tensor, (N, gh, gw, token_dim)

        Returns
        -------
        Tensor, (N, experts, gh, gw), positive, summing to 1 over the experts.
        """
        logits = self.key(tokens) @ self.queries.t() * self.scale
        return logits.softmax(-1).permute(0, 3, 1, 2)
