"""What can go wrong in authoring that is no wrong argument."""


class ExportError(Exception):
    """An exported module does not compute what PyTorch computes."""


class CheckpointError(Exception):
    """A checkpoint is damaged, or of another configuration."""
