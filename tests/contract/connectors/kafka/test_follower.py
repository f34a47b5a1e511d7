"""What a view's follower promises."""

from contextlib import closing

from connectors.kafka.follower import TopicFollower
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import cluster_identity, partitions_of
from connectors.kafka.records import OutRecord
from tests.contract.connectors.kafka.conftest import MakeTopic
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, values, write, writing
from tests.waiting import wait_until


def test_all_partitions_are_followed_from_their_positions(link: KafkaLink, make_topic: MakeTopic) -> None:
    """In order within each."""
    topic = make_topic(3)
    for partition in range(3):
        write(link, numbered(topic, range(partition * 10, partition * 10 + 5), partition))
    with closing(TopicFollower(link, topic, {0: 0, 1: 2, 2: 5})) as follower:
        found: dict[int, list[int]] = {0: [], 1: [], 2: []}

        def all_read() -> bool:
            for record in follower.poll(0.1):
                found[record.partition] += values([record])
            return follower.positions() == follower.ends(WITHIN_S)

        wait_until(all_read, within_s=WITHIN_S, what="the follower to reach the ends")
        assert found == {0: [0, 1, 2, 3, 4], 1: [12, 13, 14], 2: []}
        assert follower.positions() == {0: 5, 1: 5, 2: 5}
        assert follower.partitions_of(topic) == (0, 1, 2)


def test_positions_pass_transaction_markers(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Or no view would ever have read all that it should."""
    topic = make_topic(2)
    with writing(link, topic) as writer, closing(TopicFollower(link, topic, {0: 0, 1: 0})) as follower:
        for number in range(3):
            writer.commit([*numbered(topic, [number], 0), *numbered(topic, [number], 1)])
            wanted = dict.fromkeys((0, 1), 2 * number + 2)
            wait_until(lambda: follower.ends(WITHIN_S) == wanted, within_s=WITHIN_S, what="the markers")  # noqa: B023

            def has_caught_up(wanted: dict[int, int] = wanted) -> bool:
                follower.poll(0.05)
                return follower.positions() == wanted

            wait_until(has_caught_up, within_s=WITHIN_S, what="the follower to catch up")


def test_a_poll_returns_as_soon_as_something_came(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The time it may wait is for the first record only."""
    topic = make_topic()
    write(link, numbered(topic, range(3)))
    with closing(TopicFollower(link, topic, {0: 0})) as follower:
        assert values(follower.poll(60))[0] == 0


def test_partitions_are_told(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Before any follower exists."""
    assert partitions_of(link, make_topic(5)) == (0, 1, 2, 3, 4)


def test_a_log_has_one_identity_and_another_log_another(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Tokens and stored views carry it."""
    first, second = make_topic(), make_topic()
    assert cluster_identity(link, first) == cluster_identity(link, first)
    assert cluster_identity(link, first) != cluster_identity(link, second)
    write(link, [OutRecord(first, b"k", b"v")])
    assert cluster_identity(link, first) == cluster_identity(link, first)
