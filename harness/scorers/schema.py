"""Whether an answer keeps the format that its prompt asked for."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import Generation, Metric, Request, Score, Subject


class SchemaValidity:
    """1 where the answer is JSON that fits the variant's schema, 0 where it is not."""

    metrics = (
        Metric(
            "valid",
            title="answers in the format asked for",
            about="Share of answers that are JSON and fit the schema of their prompt; "
            "not applicable where the prompt asks for free text.",
        ),
    )

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: the schema decides."""
        return ()

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """`valid`, with what is wrong as its detail."""
        if subject.schema is None:
            return [Score("valid", None)]
        from harness.backends.answers import validate

        _, error = validate(generations[0].text, subject.schema)
        return [Score("valid", float(error is None), {"error": error} if error else None)]
