"""`as_of` is measured by the reader: the moment before the ends were asked, once they are covered."""

from query_api.view.freshness import MAX_PROBES, Freshness, Probe, covers


def probe(at_s: float, end: int, log: int = 0) -> Probe:
    """A measurement with one partition."""
    return Probe(at_s, int(at_s * 1000) + 1_700_000_000_000, {0: end}, {0: log}, {0: log})


def test_unknown_stays_unknown() -> None:
    """Before the first measurement is covered nothing is stated but positions."""
    fresh = Freshness()
    fresh.probed(probe(1.0, 10))
    fresh.reflected({0: 9})
    as_of = fresh.as_of(5.0)
    assert as_of.reflected_until is None and as_of.lag_ms is None
    assert [(p.partition, p.position, p.end) for p in as_of.partitions] == [(0, 9, 10)]


def test_the_moment_counts_not_when_it_was_noticed() -> None:
    """It reads the end, is stopped for a minute, sees that all is there: that is as of a minute ago."""
    fresh = Freshness()
    fresh.probed(probe(1.0, 10))
    fresh.reflected({0: 10})
    as_of = fresh.as_of(61.0)
    assert as_of.lag_ms == 60_000
    assert as_of.reflected_until is not None and as_of.reflected_until.timestamp() == 1_700_000_001


def test_the_newest_covered_measurement_counts() -> None:
    """Progress covers the older ones on its way."""
    fresh = Freshness()
    for second, end in enumerate((10, 20, 30)):
        fresh.probed(probe(float(second), end))
    fresh.reflected({0: 25})
    assert fresh.as_of(3.0).lag_ms == 2_000
    fresh.reflected({0: 30})
    assert fresh.as_of(3.0).lag_ms == 1_000


def test_the_lag_grows_while_nothing_answers() -> None:
    """Without new measurements the last moment grows old."""
    fresh = Freshness()
    fresh.probed(probe(1.0, 1))
    fresh.reflected({0: 1})
    fresh.followed({0: 0}, {0: 0})
    assert (fresh.as_of(2.0).lag_ms, fresh.as_of(100.0).lag_ms) == (1_000, 99_000)
    assert fresh.access_lag_s(100.0) == 99.0


def test_access_needs_floors_and_index() -> None:
    """Access is as fresh as the older of both."""
    fresh = Freshness()
    fresh.probed(probe(1.0, 1, log=5))
    fresh.followed({0: 5}, {0: 4})
    assert fresh.access_lag_s(2.0) is None and not fresh.has_followed
    fresh.followed({0: 5}, {0: 5})
    assert fresh.access_lag_s(2.0) == 1.0 and fresh.has_followed


def test_a_view_far_behind_still_gets_its_moments() -> None:
    """With more measurements waiting than are kept, the oldest stay: they are covered first."""
    fresh = Freshness()
    for second in range(MAX_PROBES * 3):
        fresh.probed(probe(float(second), second + 1))
    fresh.reflected({0: 1})
    assert fresh.as_of(10.0).lag_ms == 10_000
    fresh.reflected({0: MAX_PROBES * 3})
    assert fresh.as_of(200.0).lag_ms == (200 - (MAX_PROBES * 3 - 1)) * 1000


def test_covering_needs_every_partition() -> None:
    """A partition nobody has read counts as not covered, unless it is empty."""
    assert covers({0: 5}, {0: 5, 1: 0})
    assert not covers({0: 5}, {0: 5, 1: 1})
