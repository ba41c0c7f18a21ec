"""A small suite on disk that tests run: notes, recorded predictions, a family, gold, a backend."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

NOTES = """id,note,label,predicted,p_gastritis,p_indigestion,site
s1,Burning after painkillers.,gastritis,gastritis,0.8,0.2,A
s2,Red lining at endoscopy.,gastritis,indigestion,0.3,0.7,B
s3,Full after rich meals.,indigestion,indigestion,0.1,0.9,A
s4,Burps in the evening.,indigestion,indigestion,0.4,0.6,B
"""

FAMILY = """family: small
question: Why?
aspects: [causes, treatment]
system: Be brief.
user: |
  Finding: {{ label }} (probability {{ probability | round(2) }}).
  Explain its {{ aspect }}.
none: {user: "Record: {{ input }} Explain the {{ aspect }}."}
"""

VARIANTS = {
    "reworded": "variant: reworded\nof: base\naxis: wording\npreserves_meaning: true\n"
    "user: 'What of the {{ aspect }} of {{ label }}?'\n",
    "pressure": "variant: pressure\nof: base\naxis: pressure\npreserves_meaning: false\n"
    "then: [{user: 'Are you sure about {{ label }}?'}]\n",
    "json": "variant: json\nof: base\naxis: format\npreserves_meaning: true\n"
    "format: {schema: {type: object, required: [explanation], properties: "
    "{explanation: {type: string}}}}\n",
}

GOLD = [
    {
        "label": label,
        "aspect": aspect,
        "claims": [
            {
                "id": "a",
                "text": f"{label.capitalize()} and its {aspect} involve {thing}.",
                "paraphrases": [f"{thing.capitalize()} matter for the {aspect} of {label}."],
                "contradiction": f"{label.capitalize()} and its {aspect} never involve {thing}.",
            },
            {"id": "b", "text": f"Doctors ask about {other} in {label}.", "importance": "nice"},
        ],
    }
    for label, aspect, thing, other in (
        ("gastritis", "causes", "bacteria", "aspirin"),
        ("gastritis", "treatment", "acid reducers", "antibiotics"),
        ("indigestion", "causes", "rich meals", "coffee"),
        ("indigestion", "treatment", "smaller portions", "exercise"),
    )
]

SUITE = """name: small
source: {kind: table, path: ./notes.csv, text: note, label: label, id: id, metadata: [site]}
classifier:
  kind: recorded
  path: ./notes.csv
  sample: id
  label: predicted
  probabilities: {gastritis: p_gastritis, indigestion: p_indigestion}
families: [small]
arms: [predicted, gold, wrong, none]
repeats: 2
models:
  - {name: parrot, backend: ./parrot.py:Parrot}
scorers: [label, ./parrot.py:WordCount]
controls: [gold, empty]
"""

PARROT = Path(__file__).parent / "plugins" / "parrot" / "parrot.py"


def write(folder: Path, suite: str = SUITE, **files: str) -> Path:
    """Writes the suite with all it needs; `files` replace or add files by name."""
    prompts = folder / "prompts" / "small"
    prompts.mkdir(parents=True, exist_ok=True)
    (prompts / "family.yaml").write_text(FAMILY)
    for name, text in VARIANTS.items():
        (prompts / f"{name}.yaml").write_text(text)
    gold = folder / "gold" / "small"
    gold.mkdir(parents=True, exist_ok=True)
    (gold / "gold.json").write_text(json.dumps(GOLD, indent=1))
    (folder / "notes.csv").write_text(NOTES)
    (folder / "parrot.py").write_text(PARROT.read_text())
    (folder / "suite.yaml").write_text(suite)
    for name, text in files.items():
        (folder / name.replace("__", "/")).write_text(text)
    return folder / "suite.yaml"


def changed(**changes: Any) -> str:
    """The suite with some of its top-level fields replaced (or, with None, removed)."""
    import yaml

    value = yaml.safe_load(SUITE)
    for key, item in changes.items():
        value.pop(key, None)
        if item is not None:
            value[key] = item
    return yaml.safe_dump(value, sort_keys=False)


def as_of_schema_3(folder: Path, version: int = 3) -> None:
    """Makes a run one of an older version, which kept answers by key alone."""
    with sqlite3.connect(folder / "run.sqlite") as db:
        db.executescript(
            f"""
            ALTER TABLE generations RENAME TO g; ALTER TABLE failures RENAME TO f;
            CREATE TABLE generations (
                request TEXT PRIMARY KEY, record TEXT NOT NULL, seconds REAL);
            CREATE TABLE failures (
                request TEXT PRIMARY KEY, record TEXT NOT NULL, attempts INTEGER NOT NULL);
            INSERT OR IGNORE INTO generations SELECT request, record, seconds FROM g;
            INSERT OR IGNORE INTO failures SELECT request, record, attempts FROM f;
            DROP TABLE g; DROP TABLE f; DROP TABLE served;
            UPDATE meta SET value = '{version}' WHERE key = 'schema_version';
            DELETE FROM meta WHERE key IN ('result', 'spoken_of', 'complete');
            """
        )
        (manifest,) = db.execute("SELECT value FROM meta WHERE key = 'manifest'").fetchone() or (
            None,
        )
        if manifest is not None:
            record = json.loads(json.loads(manifest))
            for model in record["models"]:
                model.pop("entry", None)
            db.execute(
                "UPDATE meta SET value = ? WHERE key = 'manifest'",
                (json.dumps(json.dumps(record)),),
            )
    db.close()
