"""SageMaker's distributed data parallel library, on PyTorch's DDP."""

__version__ = "2.0.0"
