#!/usr/bin/env python3
"""Writes what arus-bench, arus-bench-parts and arus-bench-takeover measured into the tables of README.md, between its markers.

tables.py README.md CROSS.json PARTS.json TAKEOVER.json COMMAND
"""

import json
import re
import sys

REGIMES = ("near", "far")
NOTHING = "–"

# The figures to reach: what, scenario, transport, control, metric, whether less is better, must and aim for near and far.
FIGURES = [
    ("round trip 64 B spinning, p50", "round-trip/64B/spin", "arus", "two-line floor", "p50", True, (2.4, 2.3), (1.7, 1.5)),
    ("round trip 32 B spinning, p50", "round-trip/32B/spin", "arus", "two-line floor", "p50", True, (1.9, 1.4), (1.5, 1.2)),
    ("round trip 64 B, p99.9", "round-trip/64B/spin", "arus", "two-line floor", "p99.9", True, (3, 3), (2, 2)),
    ("64 B one by one", "one-way/64B", "arus", "bare", "rate", False, (0.65, 1.0), (0.9, 3)),
    ("64 B in batches of 32", "one-way/64B/batch32", "arus", "bare", "rate", False, (1.5, 1.5), (2, 2.7)),
    ("1 KiB one by one", "one-way/1KiB", "arus", "bare", "rate", False, (0.65, 0.6), (0.9, 2.5)),
    ("64 KiB", "one-way/64KiB", "arus", "bare", "rate", False, (0.9, 0.9), (1.0, 4)),
    ("64 KiB", "one-way/64KiB", "arus", "memcpy", "rate", False, (0.75, None), (0.9, None)),
    ("1 MiB", "one-way/1MiB", "arus", "bare", "rate", False, (0.9, 0.9), (1.35, 1.6)),
    ("uncontended send of 64 B, no reader", "no-reader/64B", "arus", "minimal ring", "per message", True, (3.2, 3.2), (2, 2)),
    ("two producers on one partition", "two-producers/64B", "arus", "CAS ring", "rate", False, (0.6, None), (0.8, None)),
    ("sleeping ping-pong", "round-trip/64B/sleep", "arus", "futex", "p50", True, (1.15, 1.15), (1.05, 1.05)),
]


def number(value):
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def natural(name):
    """Orders names by their words and, within them, numbers by value: repetitions are run in random order."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def median(figure, spread=True):
    if not figure or not figure["established"]:
        return NOTHING
    text = number(figure["median"])
    if spread:
        text += f" [{number(figure['q1'])}–{number(figure['q3'])}]"
    return text


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def in_regime(result, regime):
    return result["regimes"].get(regime, {"values": {}, "ratios": {}})


def environment(cross, command):
    known = cross["environment"]
    segments = cross["segments"]
    parts = [
        f"{known['date']}, {known['cpu']} (virtual machine: {known['virtual machine']}), {known['kernel']}, "
        f"{known['compiler']}, `{known['flags']}`, load before: {known['load average before'].split(' ')[0]}.",
        f"{cross['messages']:,} messages, each checked. Segments: {segments['valid']} valid; dropped: "
        f"{segments['regime_changed']} whose regime changed, {segments['preempted']} preempted.",
        f"Command: `{command}`.",
    ]
    return "\n".join(parts)


def figures(cross):
    results = {(one["scenario"], one["transport"]): one for one in cross["results"]}

    def bound(values, less):
        sign = "≤" if less else "≥"
        shown = [number(value).rstrip("0").rstrip(".") if value is not None else NOTHING for value in values]
        return f"{sign} {shown[0]} / {shown[1]}"

    def measured(result, regime, control, metric, less, must):
        ratio = in_regime(result, regime)["ratios"].get(control, {}).get(metric) if result else None
        if not ratio or not ratio["established"]:
            return "not established"
        text = median(ratio)
        if must is None:
            return text
        reached = ratio["median"] <= must if less else ratio["median"] >= must
        return text + (" ✓" if reached else " **short**")

    rows = []
    for what, scenario, transport, control, metric, less, must, aim in FIGURES:
        result = results.get((scenario, transport))
        cells = [measured(result, regime, control, metric, less, must[i]) for i, regime in enumerate(REGIMES)]
        rows.append([what, control, bound(must, less), bound(aim, less), *cells])
    return table(["figure", "ratio to", "must near / far", "aim", "near", "far"], rows)


def ratio_cell(here, metric):
    cells = [f"{median(ratios[metric])} × {control}" for control, ratios in here["ratios"].items()
             if ratios.get(metric, {}).get("established")]
    return "; ".join(cells) or NOTHING


def cross_process(cross):
    latency, rates = [], []
    for result in cross["results"]:
        for regime in REGIMES:
            here = in_regime(result, regime)
            values = here["values"]
            head = [result["scenario"], result["transport"], regime]
            if "p50" in values:
                latency.append(head + [median(values["p50"])] + [median(values.get(p), False) for p in ("p99", "p99.9")] +
                               [ratio_cell(here, "p50"), str(values["p50"]["repetitions"])])
            for metric in ("rate", "per message"):
                if metric in values:
                    value = median(values[metric])
                    unit = "" if value == NOTHING else " " + values[metric]["unit"]
                    rates.append(head + [value + unit, ratio_cell(here, metric), str(values[metric]["repetitions"])])
    return "\n\n".join([
        table(["scenario", "transport", "regime", "p50 ns", "p99", "p99.9", "p50 to the control", "n"], latency),
        table(["scenario", "transport", "regime", "median", "to the control", "n"], rates),
    ])


def parts(measured):
    rows = {}
    for one in measured["benchmarks"]:
        name = one["run_name"].removesuffix("/manual_time")
        if one.get("run_type") == "aggregate":
            rows.setdefault(name, {})[one["aggregate_name"]] = one
    lines = []
    for name, aggregates in sorted(rows.items(), key=lambda row: natural(row[0])):
        middle, spread = aggregates.get("median"), aggregates.get("cv")
        if not middle:
            continue
        each = number(1e9 / middle["items_per_second"])
        bandwidth = number(middle["bytes_per_second"] / 1e9) if "bytes_per_second" in middle else ""
        lines.append([name, each, f"{100 * spread['items_per_second']:.0f} %" if spread else NOTHING, bandwidth])
    return table(["benchmark", "ns per record", "spread (cv)", "GB/s"], lines)


def takeover(measured):
    rows = [[scene, *(number(found[one]) for one in ("least", "q25", "median", "q75", "most")), str(found["deaths"])]
            for scene, found in measured["scenes"].items()]
    return table(["who dies", "least µs", "25 %", "median", "75 %", "most", "n"], rows)


def replace_between(text, name, content):
    pattern = re.compile(rf"(<!-- {name}:begin[^\n]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"tables.py: README.md has no markers {name}:begin and {name}:end")
    return pattern.sub(lambda match: match[1] + content + "\n" + match[2], text)


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    readme, cross_file, parts_file, takeover_file, command = sys.argv[1:]
    with open(cross_file, encoding="utf-8") as file:
        cross = json.load(file)
    with open(parts_file, encoding="utf-8") as file:
        measured_parts = json.load(file)
    with open(takeover_file, encoding="utf-8") as file:
        measured_takeover = json.load(file)
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    text = replace_between(text, "environment", environment(cross, command))
    text = replace_between(text, "figures", figures(cross))
    text = replace_between(text, "cross-process", cross_process(cross))
    text = replace_between(text, "parts", parts(measured_parts))
    text = replace_between(text, "takeover", takeover(measured_takeover))
    with open(readme, "w", encoding="utf-8") as file:
        file.write(text)


main()
