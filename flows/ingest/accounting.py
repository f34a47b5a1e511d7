"""Every delivered offset ends in exactly one outcome. Pure.

Outcomes travel in the progress marker that commits with the work itself, so a kill loses no count and an independent
reader can check each offset.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.index import OutcomeRun


def runs_of(outcomes: Iterable[tuple[int, str]]) -> tuple[OutcomeRun, ...]:
    """(offset, outcome) pairs in order, as runs of neighbours with the same outcome."""
    runs: list[OutcomeRun] = []
    for offset, outcome in outcomes:
        if runs and runs[-1].outcome == outcome:
            last = runs[-1]
            runs[-1] = OutcomeRun(last.first, offset, last.count + 1, outcome)
        else:
            runs.append(OutcomeRun(offset, offset, 1, str(outcome)))
    return tuple(runs)
