"""LLMs and what stands for them: requests in, generations out.

One module for each transport or kind of answer.
"""
