"""An image classifier of our own: the network, its weights file, and the classifier around both."""

from harness.classifiers.mobilecoatnet.classifier import MobileCoAtNet

__all__ = ["MobileCoAtNet"]
