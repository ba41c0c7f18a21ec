"""Classifiers of transformers: the checkpoint, what its network is given, and the classifier."""

from harness.classifiers.huggingface.classifier import HuggingFace

__all__ = ["HuggingFace"]
