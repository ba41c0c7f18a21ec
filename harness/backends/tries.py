"""How often one request is sent to a server, and which of these times count as its tries."""

from __future__ import annotations

from dataclasses import dataclass

from harness.lines import PERMANENT, Line
from harness.records import Generation
from harness.server_gate import Ticket

DENIED = 3  # denials of one request, others answered between, after which it waits alone
MALFORMED_RETRIES = 2
TRY_AGAIN = (408, 409, 425)  # beside 429 and 5xx


@dataclass
class Tally:
    """How often one request was sent, and how many of these times count as its tries.

    None does while the server is away, and a denial (HTTP 429) only where nobody else was answered
    since this request was denied before.
    """

    asked: int = 0
    tries: int = 0
    timeouts: int = 0
    malformed_replies: int = 0
    denials: int = 0
    outlived: bool = False  # denied again and again, while others are answered
    answers: int = 0  # how many answers the server had given at the last denial

    def begin(self, ticket: Ticket) -> None:
        self.asked += 1
        if not self.denials:
            self.answers = ticket.answers

    def malformed(self, line: Line, ticket: Ticket, answer: Generation) -> bool:
        """Whether a reply that is no answer is worth another try."""
        line.failed(ticket, answer.error or "", away=False, permanent=True)
        self.tries += 1
        self.malformed_replies += 1
        return self.malformed_replies <= MALFORMED_RETRIES

    def denied(self, line: Line, ticket: Ticket, asked: float | None, backoff: float) -> bool:
        """Whether the others wait too; not where they are answered and this one never is."""
        self.denials += 1
        alone = line.gate.answers == self.answers
        self.answers = line.gate.answers
        self.tries += alone
        line.failed(ticket, "", away=False, permanent=False)
        self.outlived |= self.denials >= DENIED and not alone
        if self.outlived:
            return False
        line.denied(ticket, asked, backoff)
        return True

    def failed(self, line: Line, ticket: Ticket, answer: Generation, status: int) -> bool:
        """Whether a request that was answered with an error status is worth another try."""
        away = status >= 500 and status != 501
        said = answer.error or ""
        self.tries += line.failed(ticket, said, away=away, permanent=status in PERMANENT)
        return away or status in TRY_AGAIN

    def silent(self, line: Line, ticket: Ticket, reason: str, timeout: bool) -> bool:
        """Whether a request without a reply is worth another try: after a whole time-out once."""
        counts = line.failed(ticket, reason, away=True, permanent=False)
        self.tries += counts
        self.timeouts += counts and timeout
        return self.timeouts < 2
