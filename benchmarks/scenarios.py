"""All scenarios, in the order in which they are played."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.files import Shape
from benchmarks.links import DELAYED, LOOPBACK
from benchmarks.play import Scenario
from benchmarks.publishers import package_publishers, packers, publishers
from benchmarks.resolvers import (
    file_by_file,
    limits,
    package_and_tool,
    pipe,
    resolve,
    s5cmd_files,
    unpackaged,
)
from benchmarks.stage import Need
from benchmarks.versions import deltas, warm

KB = 1000
HERE_SAMPLES, FAR_SAMPLES = (500, 3000), (100, 600)
MANY = Shape(100_000, 10_240)
SMALL = Shape(4_000, 10_240)


def full(n_files: int = MANY.n_files) -> list[Scenario]:
    """Return what the reference run plays, the most telling first.

    Args:
        n_files: How many files of 10 kB, where the goals speak of 100,000.
    """
    many = replace(MANY, n_files=n_files)
    return [*_main(many, ""), *_other_shapes(many), *_growth()]


def small() -> list[Scenario]:
    """Return what is played in less than two minutes before a release."""
    return [_quick(scenario) for scenario in _main(SMALL, "small-")]


def tiny() -> list[Scenario]:
    """Return what shows in seconds that the machinery works."""
    few = [_quick(scenario, rounds=1) for scenario in _main(Shape(50, 1000), "tiny-")]
    return [scenario for scenario in few if scenario.link == LOOPBACK]


def _main(shape: Shape, prefix: str) -> list[Scenario]:
    is_large = shape.n_files >= 20_000
    samples = (*HERE_SAMPLES, *FAR_SAMPLES) if is_large else ()
    resolved = Need(shape, has_files=True, samples=samples, keeps_originals=not is_large)
    changed = Need(shape, has_next=True)
    published = Need(shape, has_version=False, has_one_file=True)
    everyone = (resolve(), *limits(), *package_and_tool(), *file_by_file())
    folders = Scenario("resolve-folders", "From nothing to a directory", resolved, everyone)
    delta = Scenario("delta", "From v1 to v2", changed, tuple(deltas()))
    found = [
        folders,
        delta,
        Scenario("warm", "Warm resolve", changed, tuple(warm()), rounds=7),
        Scenario("pack", "Pack on the local file system", published, tuple(packers())),
        Scenario("packages", "Publish the package alone", published, tuple(package_publishers())),
        Scenario("publish", "Publish with individual files", published, tuple(publishers()), 2),
        _delayed(folders),
        _delayed(delta),
    ]
    return [replace(scenario, name=prefix + scenario.name) for scenario in found]


def _delayed(scenario: Scenario) -> Scenario:
    return replace(
        scenario,
        name=f"{scenario.name}-delayed",
        title=f"{scenario.title}, behind 20 ms and 1 Gbit/s",
        link=DELAYED,
        samples=FAR_SAMPLES,
    )


def _other_shapes(many: Shape) -> list[Scenario]:
    flat = replace(many, is_flat=True)
    title = "From nothing to a directory"
    found = [
        Scenario(
            "resolve-flat",
            title,
            Need(flat, has_files=True, keeps_originals=False),
            (resolve(), *limits(), pipe(), replace(s5cmd_files(), tunings=("64",))),
        )
    ]
    shapes = {
        "275b": Shape(70_000, 275),
        "115kb": Shape(20_000, 115 * KB),
        "1mb": Shape(1_000, 1000 * KB),
        "20mb": Shape(100, 20_000 * KB),
    }
    for name, shape in shapes.items():
        need = Need(shape, has_loose=True, samples=(3000,), keeps_originals=False)
        those = (resolve(), unpackaged(), pipe(), s5cmd_files())
        found.append(Scenario(f"shape-{name}", title, need, those))
    disk = Need(replace(MANY, n_files=20_000), has_files=True, on_disk=True)
    found.append(Scenario("resolve-disk", f"{title} on disk", disk, (resolve(), pipe())))
    return found


def _growth() -> list[Scenario]:
    found: list[Scenario] = []
    for name, n_files in (("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)):
        shape, rounds = Shape(n_files, 2048), 1 if n_files == 1_000_000 else 3
        (ours, *_), (gone, *_) = package_publishers(), (resolve(),)
        publish = Need(shape, has_version=False)
        found += [
            Scenario(f"grow-{name}-publish", "Publish the package alone", publish, (ours,), rounds),
            Scenario(
                f"grow-{name}-resolve",
                "From nothing to a directory",
                Need(shape, keeps_originals=False),
                (gone, *warm()),
                rounds,
            ),
        ]
    return found


def _quick(scenario: Scenario, rounds: int = 2) -> Scenario:
    """Leave out who would take long; take one tuning of each knob, untried."""
    those = (replace(c, tunings=c.tunings[1:2]) for c in scenario.contenders if c.is_small)
    return replace(scenario, contenders=tuple(those), rounds=rounds, samples=(100, 400))
