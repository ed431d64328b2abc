"""`python -m benchmarks`: run the suite, write benchmarks/results/."""

import argparse

from benchmarks import peer, plots, results
from benchmarks.suite import Suite


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--large", action="store_true", help="the million keys, instead of the usual rows")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a row is measured")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="only these rows; nothing is written")
    parser.add_argument("--peer", choices=["medusa"], help="measure Medusa too, on this machine, before Keyscope")
    parser.add_argument("--store", choices=["postgresql"], help="the rows of that event store, with 1, 2, 3 replicas")
    chosen = parser.parse_args()
    if chosen.store:
        from benchmarks import postgresql  # its server comes with what the tests need

        postgresql.measure(chosen.seconds, chosen.only)
        return
    if chosen.peer:
        peer.measure(chosen.seconds)
    suite = Suite(chosen.seconds, chosen.only, save=None if chosen.only else save)
    (suite.large if chosen.large else suite.small)()
    if chosen.peer:
        print(peer.ratios(suite.rows))


def save(suite: Suite) -> None:
    """Write what has been measured, over what was there before."""
    merged = results.merged(suite.rows, suite.facts, sweeps=suite.sweeps, growth=suite.growth)
    results.write(merged, suite.peers)
    plots.write(results.FOLDER, merged)
    print(f"written: {results.FOLDER}")


if __name__ == "__main__":
    main()
