"""Modules under the names that scripts written for SageMaker import, on PyTorch's own means.

This folder is on the path of distributed PyTorch jobs only.
"""
