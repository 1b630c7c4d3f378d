#!/usr/bin/env python3
"""Draws what arus-bench measured, with gnuplot, for README.md: cores near each other, medians, only what was established.

charts.py CROSS.json DIRECTORY
"""

import json
import pathlib
import subprocess
import sys

from results import Results

REGIME = "near"
SIZES = [("16B", 16), ("64B", 64), ("256B", 256), ("1KiB", 1 << 10), ("4KiB", 4 << 10), ("16KiB", 16 << 10), ("64KiB", 64 << 10),
         ("256KiB", 256 << 10), ("1MiB", 1 << 20), ("4MiB", 4 << 20)]
TRANSPORTS = ("arus", "bare", "memcpy", "pipe", "stream socket", "seqpacket", "POSIX queue", "Boost", "iceoryx", "ZeroMQ", "nng")
# Told apart also by those who see no red and green, on white and on black (after Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a", "#b8a000", "#7b5cc4", "#5f9ea0", "#b07050")

HEAD = """set terminal svg size 900,440 dynamic font 'sans-serif,13'
set border 3
set tics nomirror
set grid
set key outside right
"""

# What gnuplot draws in black and grey follows the reader's page.
STYLE = """<style>
:root { color-scheme: light dark; --ink: #1c2430; --faint: #c9d0d9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #454d59; } }
[color="black"] { color: var(--ink); }
[fill="black"] { fill: var(--ink); }
[stroke="black"] { stroke: var(--ink); }
[stroke="gray"] { stroke: var(--faint); }
</style>
"""


def draw(path, script):
    done = subprocess.run(["gnuplot", "-"], input=HEAD + script, capture_output=True, text=True, check=False)
    start = done.stdout.find("<svg")
    if done.returncode != 0 or start < 0:
        sys.exit(f"charts.py: gnuplot could not draw {path.name}: {done.stderr.strip()}")
    head_end = done.stdout.index(">", start) + 1
    path.write_text(done.stdout[:head_end] + "\n" + STYLE + done.stdout[head_end:], encoding="utf-8")


def block(name, points):
    return f"${name} << EOD\n" + "".join(f"{' '.join(map(str, point))}\n" for point in points) + "EOD\n"


def lines(series, style):
    """Data blocks and one plot command for {title: points}, in colours that stay with the names."""
    text, plots = "", []
    for index, (title, points) in enumerate(series.items()):
        text += block(f"series{index}", points)
        plots.append(f"$series{index} with {style} lc rgb '{COLOURS[index % len(COLOURS)]}' title '{title}' noenhanced")
    return text, "plot " + ", ".join(plots) + "\n"


def throughput(results):
    series = {}
    for transport in TRANSPORTS:
        points = []
        for name, size in SIZES:
            figure = results.value(f"one-way/{name}", transport, REGIME, "rate")
            if figure:
                per_second = figure["median"] * 1e6 * size if figure["unit"] == "M/s" else figure["median"] * 1e9
                points.append((size, per_second / 1e9))
        if len(points) > 1:
            series[transport] = points
    data, plot = lines(series, "linespoints lw 2 pt 7 ps 0.6")
    tics = ", ".join(f'"{name}" {size}' for name, size in SIZES)
    return series and data + f"""set logscale x 2
set logscale y 10
set xtics ({tics})
set format y '%g'
set xlabel 'size of a message'
set ylabel 'GB/s, one process to another'
""" + plot


def under_load(results):
    series = {}
    for transport, rates in (("arus", ("100k/s", "1M/s", "4M/s", "16M/s")), ("bare", ("1M/s",))):
        for rate in rates:
            curve = results.here(f"load/64B/{rate}", transport, REGIME).get("curve")
            if curve:
                series[f"{transport}, {rate}"] = [(1 / (1 - share / 100), max(ns, 1)) for share, ns in curve["points"] if share < 100]
    data, plot = lines(series, "lines lw 2.5")
    return series and data + """set logscale xy
set xtics ("50 %%" 2, "90 %%" 10, "99 %%" 100, "99.9 %%" 1e3, "99.99 %%" 1e4, "99.999 %%" 1e5, "99.9999 %%" 1e6)
set ytics ("10 ns" 10, "100 ns" 100, "1 µs" 1e3, "10 µs" 1e4, "100 µs" 1e5, "1 ms" 1e6, "10 ms" 1e7, "100 ms" 1e8)
set xlabel 'share of the messages of 64 B'
set ylabel 'received at most so long after they were due'
""" + plot


def round_trips(results):
    rows = []
    for transport in ("two-line floor", "futex", "ReaderWriterQueue", "ConcurrentQueue", *TRANSPORTS):
        times = [results.value(f"round-trip/64B/{wait}", transport, REGIME, "p50") for wait in ("spin", "sleep")]
        if any(times):
            rows.append((f'"{transport}"', *(figure["median"] if figure else "NaN" for figure in times)))
    rows.sort(key=lambda row: min(value for value in row[1:] if value != "NaN"))
    return rows and block("bars", rows) + f"""set style data histogram
set style histogram clustered gap 1
set style fill solid 0.85 noborder
set logscale y 10
set yrange [30:*]
set xtics rotate by 40 right noenhanced
set ytics ("30 ns" 30, "100 ns" 100, "300 ns" 300, "1 µs" 1e3, "3 µs" 3e3, "10 µs" 1e4, "30 µs" 3e4, "100 µs" 1e5, "300 µs" 3e5)
set xlabel 'transport'
set ylabel 'round trip of 64 B, median'
plot $bars using 2:xtic(1) lc rgb '{COLOURS[0]}' title 'spinning', '' using 3 lc rgb '{COLOURS[1]}' title 'sleeping'
"""


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    results = Results(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(exist_ok=True)
    for name, script in (("throughput", throughput(results)), ("load", under_load(results)), ("round-trip", round_trips(results))):
        if script:
            draw(directory / f"{name}.svg", script)
        else:
            print(f"charts.py: nothing of {name} was established; its chart stays as it is", file=sys.stderr)


main()
