"""What arus-bench writes, and how its numbers are shown."""

REGIMES = ("near", "far")
NOTHING = "–"


def number(value):
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


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


class Results:
    """One run of arus-bench, by scenario and transport."""

    def __init__(self, cross):
        self._all = cross["results"]
        self._by_name = {(one["scenario"], one["transport"]): one for one in self._all}

    def all(self):
        return self._all

    def took_part(self, scenario, transport):
        return bool(self._by_name.get((scenario, transport), {}).get("regimes"))  # none where it was left out

    @staticmethod
    def in_regime(result, regime):
        return (result or {"regimes": {}})["regimes"].get(regime, {"values": {}, "ratios": {}})

    def here(self, scenario, transport, regime):
        return self.in_regime(self._by_name.get((scenario, transport)), regime)

    def value(self, scenario, transport, regime, metric):
        """The figure, or None if it was not measured or not established."""
        figure = self.here(scenario, transport, regime)["values"].get(metric)
        return figure if figure and figure["established"] else None

    def ratio(self, scenario, transport, regime, control, metric):
        figure = self.here(scenario, transport, regime)["ratios"].get(control, {}).get(metric)
        return figure if figure and figure["established"] else None
