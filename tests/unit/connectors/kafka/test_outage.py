"""An outage is said, not shouted."""

from structlog.testing import capture_logs

from connectors.kafka.outage import REPEAT_AFTER_S, OutageLog


def test_an_outage_is_said_at_once_then_seldom_then_its_end() -> None:
    """Errors come by the hundred a second while a broker is away."""
    now = 100.0
    log = OutageLog(clock=lambda: now, topic="rag.documents")
    with capture_logs() as said:
        for _ in range(500):
            log.waiting("connection refused")
        now += REPEAT_AFTER_S
        log.waiting("connection refused")
        now += 1
        log.recovered()
        log.recovered()
    assert [entry["event"] for entry in said] == ["waiting for Kafka", "waiting for Kafka", "Kafka answers again"]
    assert [entry["waited_s"] for entry in said] == [0.0, 5.0, 6.0]
    assert said[0]["topic"] == "rag.documents"
