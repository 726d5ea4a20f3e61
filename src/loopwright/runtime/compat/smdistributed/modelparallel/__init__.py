"""SageMaker's model parallel library, on PyTorch's own means."""

__version__ = "1.15.0"
