"""What other runs were answered to the same requests, and whether the same model answers now.

Answers are taken over from another run where equal proof says that the same model gave them, or
where the command names that run. Otherwise nothing is taken, and the run says what lies there. A
folder is continued only by a model that shows no sign of being another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.identity import request_key
from harness.records import Generation, HarnessError, Request, Served
from harness.served import changes, known, observed, other_model, proven
from harness.store import Store

Held = Mapping[tuple[str, str], tuple[Generation, Served | None]]  # by entry and key


@dataclass
class Watch:
    """Looks beside a run and at who answers it.

    `reuse` are folders of runs from which answers are taken whoever gave them; `fresh` takes none
    from anywhere else. With `accept_change` another model may continue the run.
    """

    store: Store
    note: Callable[[str], None] = lambda _: None
    entries: Collection[str] = ()  # of the suite
    reuse: Sequence[Path] = ()
    fresh: bool = False
    accept_change: bool = False
    _seen: dict[str, Served] = field(default_factory=dict)  # by entry, since this command began

    def take_proven(self, entry: str, requests: Mapping[str, Request]) -> None:
        """Takes over what was answered by a model that the requests' own keys identify, and what
        the command names."""
        missing = requests.keys() - self.store.answered(entry)
        self._adopt_without_code(entry, requests, missing)
        missing -= self.store.answered(entry)
        for folder in self.reuse:
            self._take(folder, missing, entry, named=True)
            missing -= self.store.answered(entry)
        sure = {key for key in missing if _sure(requests[key])}
        if sure and not self.fresh:
            for folder in self._others():
                self._take(folder, sure, entry)
                sure -= self.store.answered(entry)

    async def look(
        self, entry: str, backend: Any, requests: Mapping[str, Request], who: str
    ) -> None:
        """Sees who is about to answer, once a command, and takes over what the same gave elsewhere.

        Raises `HarnessError` where another model answered this entry before.
        """
        missing = requests.keys() - self.store.answered(entry)
        if not missing:
            return
        if entry not in self._seen:
            now = await observed(backend, requests[min(missing)], who)
            if proven(requests[min(missing)]) is None:  # else another model has other keys
                self._refuse_other(entry, now, who)
            self._seen[entry] = now
            with self.store.transaction():
                self.store.put_served(entry, now)
        now = self._seen[entry]
        if now.proof is None or self.fresh or proven(requests[min(missing)]) is not None:
            return
        for folder in self._others():
            self._take(folder, missing, entry, proof=now.proof)
            missing -= self.store.answered(entry)

    def _others(self) -> list[Path]:
        """Runs beside this one, and this one, whose suite may have had entries of other names."""
        return [self.store.folder, *_beside(self.store.folder)]

    async def look_again(self, entry: str, backend: Any, request: Request, who: str) -> str | None:
        """Sees who answers after the server was away: how one tells that it is another model now.

        A server that shows nothing, or is not there yet, tells nothing.
        """
        if proven(request) is not None:
            return None
        now = await observed(backend, request, who)
        if now == Served():
            return None
        before = self._seen.get(entry, Served())
        try:
            self._refuse_other(entry, now, who)
        except HarnessError as error:
            return str(error)
        other = other_model(before, now)
        if other is not None and not self.accept_change:
            return f"another model came back ({other}); nothing more was sent"
        if now != before:
            self._seen[entry] = now
            with self.store.transaction():
                self.store.put_served(entry, now)
        return None

    def _refuse_other(self, entry: str, now: Served, who: str) -> None:
        before = next(iter(self.store.who_answered().get(entry, [])[-1:]), None)
        if before is None:
            return
        other = other_model(before, now)
        if other is not None and not self.accept_change:
            raise HarnessError(
                f"{who}: another model answers now than before ({other}); nothing was sent. "
                "--accept-change continues with it, --out or --fresh begins anew"
            )
        if other is not None:
            self.note(f"{who}: another model answers now than before ({other})")
        elif not known(now):
            self.note(f"{who}: who answers is unknown, since the server does not say")
        for change in changes(before, now):
            self.note(f"{who}: {change}")

    def _adopt_without_code(
        self, entry: str, requests: Mapping[str, Request], missing: Collection[str]
    ) -> None:
        """Until schema 3 a plug-in's code was no part of its requests' keys."""
        coded = {
            request_key(replace(requests[key], code=None)): key
            for key in missing
            if requests[key].code is not None
        }
        if coded:
            with self.store.transaction():
                self.store.adopt_as(entry, coded)

    def _take(
        self,
        folder: Path,
        keys: Collection[str],
        entry: str,
        *,
        named: bool = False,
        proof: str | None = None,
    ) -> None:
        """Takes over what a run holds; with `proof` only what a model with the same gave.

        The answer of the entry of the same name comes first. Of a run that is `named` on the
        command line nothing is taken where entries of other names answered differently.
        """
        held = _held(folder, keys)
        if folder.resolve() == self.store.folder.resolve():
            held = {place: one for place, one in held.items() if place[0] not in self.entries}
        rows = []
        for key in sorted({key for _, key in held}):
            found = {name: one for (name, other), one in held.items() if other == key}
            if proof is not None:
                found = {n: one for n, one in found.items() if one[1] and one[1].proof == proof}
            if entry in found:
                rows.append((entry, key, *found[entry]))
            elif found and not (named and len({one[0].text for one in found.values()}) > 1):
                rows.append((entry, key, *found[min(found)]))
        if rows:
            with self.store.transaction():
                self.store.put_taken(rows, folder.resolve().name)
            self.note(f"{entry}: {len(rows):,} answers are taken over from {folder}")


def left_elsewhere(
    folder: Path,
    requests: Mapping[str, Mapping[str, Request]],
    answered: Collection[tuple[str, str]],
) -> list[str]:
    """Sentences on answers to a plan's requests (by entry and key) in the runs beside `folder`.

    They say which of them a run takes over, and which it does not, since nothing proves that the
    same model gave them. `answered` are the places of those that the run itself holds.
    """
    missing = {
        entry: {key: request for key, request in mine.items() if (entry, key) not in answered}
        for entry, mine in requests.items()
    }
    wanted = {k for mine in missing.values() for k, r in mine.items() if r.cell is None or r.code}
    sentences = []
    for other in _beside(folder) if wanted else ():
        held = {key for _, key in _held(other, wanted)}
        sure = sum(_sure(r) for mine in missing.values() for k, r in mine.items() if k in held)
        unsure = sum(
            k in held and not _sure(r) for mine in missing.values() for k, r in mine.items()
        )
        if sure:
            sentences.append(f"{sure:,} answers are taken over from {other}: the same model's")
        if unsure:
            sentences.append(
                f"{unsure:,} answers to these requests lie in {other}, and nothing proves that the "
                f"same model gave them; --reuse {other} or a model's 'revision:' takes them"
            )
    return sentences


def _beside(folder: Path) -> list[Path]:
    """The folders of the runs beside a run."""
    here = folder.resolve()
    return [path.parent for path in sorted(folder.parent.glob("*/run.sqlite"))
            if path.parent.resolve() != here]  # fmt: skip


def _held(folder: Path, keys: Collection[str]) -> Held:
    try:
        with Store.read(folder) as store:
            return store.held(keys)
    except (HarnessError, sqlite3.Error):
        return {}  # of another schema, or being written: nothing to take


def _sure(request: Request) -> bool:
    """Whether the request's key says who answers it. Controls and recordings are made anew: they
    cost nothing, and follow from what this version reads."""
    made = request.cell is not None and request.code is None
    return not made and proven(request) is not None
