"""What packages and a parent save whoever fetches a version: an estimate, before anybody does.

It is arithmetic with the cost model by which a resolve plans its reads, on a cache that is empty or
holds the parent; nothing was measured for it. A resolve says afterwards what it fetched.
"""

from dataclasses import dataclass

from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.versions.changes import Changes

_COST = CostModel()

ASSUMED = (
    f"Estimated with {_COST.latency_seconds * 1000:.0f} ms from a request to its answer, "
    f"{_COST.reads_at_once} requests at once and {_COST.bandwidth * 8 / 1e9:g} Gbit/s; nothing was "
    "measured."
)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One way to fetch a version.

    Attributes:
        requests: How many, the record and the tables among them.
        n_bytes: Bytes of files that are moved.
    """

    requests: int
    n_bytes: int

    @property
    def seconds(self) -> float:
        """How long it takes by the cost model."""
        waiting = self.requests * _COST.latency_seconds / _COST.reads_at_once
        return max(waiting, _COST.latency_seconds) + self.n_bytes / _COST.bandwidth


def one_by_one(record: VersionRecord) -> Fetch:
    """Fetch each file as an object of its own."""
    return Fetch(record.n_files, record.n_bytes)


def by_packages(record: VersionRecord) -> Fetch:
    """Fetch the packages in large reads."""
    pieces = sum(-(-package.n_bytes // _COST.request_bytes) for package in record.packages)
    return Fetch(1 + len(record.parts) + pieces, sum(each.n_bytes for each in record.packages))


def after_parent(record: VersionRecord, changes: Changes) -> Fetch:
    """Fetch what is new, where the parent is in the cache; at most a read for each new file."""
    n_new = changes.added.n_files + changes.changed.n_files
    reads = min(n_new, by_packages(record).requests) if record.packages else n_new
    return Fetch(1 + len(record.parts) + reads, changes.n_new_bytes)
