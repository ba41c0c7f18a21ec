"""What is being explained: samples in, predictions out.

One module or package for each way of having a classifier, and what several of them do alike.
"""
