"""A backend and a scorer of one's own, in one file: installed, or named in a suite by its path."""

from harness.records import Capabilities, Generation, Metric, Request, Score


class Parrot:
    """Answers with the user's last message."""

    capabilities = Capabilities(seed=True)

    def __init__(self, model: str, prefix: str = "") -> None:
        self.prefix = prefix

    async def generate(self, request: Request) -> Generation:
        return Generation(text=self.prefix + request.messages[-1].text)


class WordCount:
    """Number of words; a baseline."""

    metrics = (
        Metric("words", subject="generation", range=(0, None), direction=None, baseline=True),
    )

    def requests(self, subject):
        return ()

    def score(self, subject, generations):
        return [Score("words", len(generations[0].text.split()))]
