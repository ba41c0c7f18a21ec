"""The stage between scores and report: stored scores become estimates, ranks and sentences.

One module for each page of the report; all read a `ScoreTable` and return records of
`harness.results`. Nothing is computed in the report itself.
"""

from harness.analysis.analyse import analyse

__all__ = ["analyse"]
