"""The rivals beside arus, from the same segments, and the figures of those that cannot run here."""

from results import REGIMES, number, table

NAMES = ("pipe", "stream socket", "seqpacket", "POSIX queue", "Boost", "iceoryx", "ZeroMQ", "nng", "gRPC", "ReaderWriterQueue",
         "ConcurrentQueue")
# Inside one process: what crossing threads costs, not a rival.
REFERENCES = ("ReaderWriterQueue", "ConcurrentQueue")

# Column, scenario, arus's name in it, metric, whether less is better.
COLUMNS = [
    ("round trip 64 B, spinning", "round-trip/64B/spin", "arus", "p50", True),
    ("sleeping", "round-trip/64B/sleep", "arus", "p50", True),
    ("64 B one way", "one-way/64B", "arus", "rate", False),
    ("1 KiB", "one-way/1KiB", "arus", "rate", False),
    ("64 KiB", "one-way/64KiB", "arus", "rate", False),
    ("1 MiB", "one-way/1MiB", "arus", "rate", False),
    ("call 64 B, spinning", "rpc-echo/64B/spin", "arus rpc", "p50", True),
    ("sleeping", "rpc-echo/64B/sleep", "arus rpc", "p50", True),
]

# Issue 5, of two processes on this kind of machine: round trip, 64 B, 1 KiB, 1 MiB, call; by regime. Not side by side.
ELSEWHERE = {
    "Aeron 1.53 IPC": {"near": ("220 ns", "19–20 M/s", "5.2 M/s", "7.4 GB/s", ""), "far": ("841 ns", "5 M/s", "", "7.0 GB/s", "")},
    "iceoryx2 0.9.999": {"near": ("931 ns", "3.3 M/s", "2.5 M/s", "24 GB/s", "1292 ns"),
                         "far": ("2293 ns", "1.0 M/s", "", "1.8 GB/s", "3195 ns")},
}
PLACES = ("round-trip/64B/spin", "one-way/64B", "one-way/1KiB", "one-way/1MiB", "rpc-echo/64B/spin")


def amount(figure):
    if figure["unit"] == "ns" and figure["median"] >= 10_000:
        return f"{number(figure['median'] / 1000)} µs"
    return f"{number(figure['median'])} {figure['unit']}"


def ahead(results, regime, name, column):
    """How many times better arus is in the same segments: median and quartiles; None if not established."""
    _, scenario, arus, metric, less = column
    ratio = results.ratio(scenario, name, regime, arus, metric)
    if not ratio:
        return None
    found = (ratio["median"], ratio["q1"], ratio["q3"])
    return found if less else (1 / found[0], 1 / found[2], 1 / found[1])


def verdict(times):
    middle, low, high = times
    return "ahead" if low > 1 else "behind" if high < 1 else "level"


def cell(results, regime, name, column):
    value = results.value(column[1], name, regime, column[3])
    times = ahead(results, regime, name, column)
    if not value and not times:
        return "–"
    text = amount(value) if value else "–"
    if not times:
        return text
    shown = f"×{number(times[0])} [{number(times[1])}–{number(times[2])}]"
    return f"{text}, {shown}" + {"ahead": " ✓", "level": " level", "behind": " **behind**"}[verdict(times)]


def standing(results, regime):
    """In how many cells arus is ahead, level and behind, and how many were not established."""
    counts = {"ahead": 0, "level": 0, "behind": 0, "not established": 0}
    for name in NAMES:
        for column in COLUMNS:
            if name in REFERENCES or not results.took_part(column[1], name):
                continue
            times = ahead(results, regime, name, column)
            counts[verdict(times) if times else "not established"] += 1
    text = ", ".join(f"{many} {what}" for what, many in counts.items() if many)
    if counts["level"] or counts["behind"]:
        return text + " **short**"
    return text if counts["not established"] else text + " ✓"


def of_regime(results, regime):
    rows = [["**arus**", *(amount(value) if (value := results.value(scenario, arus, regime, metric)) else "–"
                           for _, scenario, arus, metric, _ in COLUMNS)]]
    for name in NAMES:
        shown = f"{name} (two threads)" if name in REFERENCES else name
        rows.append([shown, *(cell(results, regime, name, column) for column in COLUMNS)])
    for name, figures in ELSEWHERE.items():
        there = dict(zip(PLACES, figures[regime]))
        rows.append([f"*{name}* †", *(f"*{there[column[1]]}*" if there.get(column[1]) else "" for column in COLUMNS)])
    return f"{regime}:\n\n" + table(["", *(column[0] for column in COLUMNS)], rows)


def rivals(results):
    return "\n\n".join(of_regime(results, regime) for regime in REGIMES)
