"""Intervals, paired tests, ranks, agreement and calibration.

Functions over arrays that know nothing of records.
"""
