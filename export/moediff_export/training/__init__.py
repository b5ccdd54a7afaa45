"""Training: losses, one training step, and the loop that can be stopped and resumed."""
