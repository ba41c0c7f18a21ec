"""The only place that opens SQLite: a run's folder, its database (`database.py`) and the records in
it (`run.py`)."""

from harness.store.database import SCHEMA_VERSION
from harness.store.run import Store

__all__ = ["SCHEMA_VERSION", "Store"]
