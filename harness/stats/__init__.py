"""Intervals, paired tests, ranks, agreement and calibration: functions over arrays that know nothing of records."""
