"""What is being explained: samples in, predictions out.

One module for each way of having a classifier.
"""
