"""The figures to reach, as the issue about benchmarks states them, with what was measured beside them."""

from results import NOTHING, REGIMES, median, number, table
from rivals import standing

# What, scenario, transport, control, metric, whether less is better, must and aim for near and far.
RATIOS = [
    ("round trip 64 B spinning, p50", "round-trip/64B/spin", "arus", "two-line floor", "p50", True, (2.4, 2.3), (1.7, 1.5)),
    ("round trip 32 B spinning, p50", "round-trip/32B/spin", "arus", "two-line floor", "p50", True, (1.9, 1.4), (1.5, 1.2)),
    ("round trip 64 B, p99.9", "round-trip/64B/spin", "arus", "two-line floor", "p99.9", True, (3, 3), (2, 2)),
    ("64 B one by one, many-producer topic", "one-way/64B", "arus", "bare", "rate", False, (0.65, 1.0), (0.9, 3)),
    ("64 B in batches of 32", "one-way/64B/batch32", "arus", "bare", "rate", False, (1.5, 1.5), (2, 2.7)),
    ("1 KiB one by one", "one-way/1KiB", "arus", "bare", "rate", False, (0.65, 0.6), (0.9, 2.5)),
    ("64 KiB", "one-way/64KiB", "arus", "bare", "rate", False, (0.9, 0.9), (1.0, 4)),
    ("64 KiB", "one-way/64KiB", "arus", "memcpy", "rate", False, (0.75, None), (0.9, None)),
    ("1 MiB", "one-way/1MiB", "arus", "bare", "rate", False, (0.9, 0.9), (1.35, 1.6)),
    ("uncontended send of 64 B, no reader", "no-reader/64B", "arus", "minimal ring", "per message", True, (3.2, 3.2), (2, 2)),
    ("two producers on one partition", "two-producers/64B", "arus", "CAS ring", "rate", False, (0.6, None), (0.8, None)),
    ("one observer more, idle", "one-observer-more/64B", "arus, idle observer", "arus", "rate", False, (0.9, 0.9), (1.0, 1.0)),
    ("one observer more, reading", "one-observer-more/64B", "arus, reading observer", "arus", "rate", False, (0.9, 0.9), (1.0, 1.0)),
    ("RPC echo 64 B spinning", "rpc-echo/64B/spin", "arus rpc", "arus", "p50", True, (1.2, 1.2), (1.05, 1.05)),
    ("sleeping ping-pong", "round-trip/64B/sleep", "arus", "futex", "p50", True, (1.15, 1.15), (1.05, 1.05)),
]
MOST_WAKEUPS = 1  # of an idle sleeping consumer, per second
TOPICS = 1000
MOST_MS = 2  # to open a bus of so many topics and attach one


def bound(values, less):
    shown = [number(value).rstrip("0").rstrip(".") if value is not None else NOTHING for value in values]
    return f"{'≤' if less else '≥'} {shown[0]} / {shown[1]}"


def judged(text, reached):
    return text + (" ✓" if reached else " **short**")


def ratio_row(results, what, scenario, transport, control, metric, less, must, aim):
    cells = []
    for regime, limit in zip(REGIMES, must):
        ratio = results.ratio(scenario, transport, regime, control, metric)
        if not ratio:
            cells.append("not established")
        elif limit is None:
            cells.append(median(ratio))
        else:
            cells.append(judged(median(ratio), ratio["median"] <= limit if less else ratio["median"] >= limit))
    return [what, control, bound(must, less), bound(aim, less), *cells]


def setup_rows(setup):
    """Without a control, and not a matter of how far the cores are from each other."""
    def row(what, must, aim, text, reached):
        return [what, NOTHING, must, aim, judged(text, reached), ""]

    waking = max((one for one in setup["idle"] if one["process"] != "producer"), key=lambda one: one["wakeups_per_second"])
    yield row("idle sleeping consumer, wake-ups/s", f"≤ {MOST_WAKEUPS}", "0", f"{number(waking['wakeups_per_second'])}",
              waking["wakeups_per_second"] <= MOST_WAKEUPS)
    for one in setup["attach"]:
        if one["topics"] == TOPICS:
            milliseconds = one["total_us"]["median"] / 1000
            yield row(f"open a bus of {TOPICS:,} topics and attach one: {one['endpoint']}", f"≤ {MOST_MS} ms", NOTHING,
                      f"{number(milliseconds)} ms", milliseconds <= MOST_MS)


def figures(results, setup):
    rows = [ratio_row(results, *figure) for figure in RATIOS]
    rows += setup_rows(setup)
    rows.append(["against the rivals (below)", "arus", "ahead in each", NOTHING, *(standing(results, regime) for regime in REGIMES)])
    return table(["figure", "ratio to", "must near / far", "aim", "near", "far"], rows)
