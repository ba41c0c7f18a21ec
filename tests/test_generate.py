"""Answers are committed before their workers go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness.generate import Committer
from harness.records import Generation
from harness.store import Store


def test_who_awaits_the_committer_goes_on_only_when_the_answer_is_stored(tmp_path: Path) -> None:
    async def worker(store: Store, committer: Committer, i: int) -> None:
        await committer.put(f"k{i}", Generation(str(i)))
        assert store.generation(f"k{i}") == Generation(str(i))

    async def all_of_them(store: Store) -> None:
        committer = Committer(store)
        await asyncio.gather(*(worker(store, committer, i) for i in range(50)))

    with Store.write(tmp_path) as store:
        asyncio.run(all_of_them(store))
        assert len(store.answered()) == 50
