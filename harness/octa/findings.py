"""Findings in one place: the record, its report, and the way back from a report.

`write` turns findings into text, `parse` reads text of whatever wording and says what share of it
could be read, and `gold_record` makes claims of an image's drawn instances.
"""

from harness.octa.claims import gold_record
from harness.octa.parser import ParsedFindings, parse
from harness.octa.record import (
    BUCKETS,
    Bucket,
    Findings,
    LesionFinding,
    bucket_of,
    findings_of,
    turned_findings,
)
from harness.octa.writer import write

__all__ = [
    "BUCKETS",
    "Bucket",
    "Findings",
    "LesionFinding",
    "ParsedFindings",
    "bucket_of",
    "findings_of",
    "gold_record",
    "parse",
    "turned_findings",
    "write",
]
