"""Laws of in-order acknowledgement."""

from hypothesis import given
from hypothesis import strategies as st

from query_api.offsets import InOrder, Ticket


@given(st.data())
def test_releases_exactly_the_contiguous_prefix(data: st.DataObject) -> None:
    """Whatever the order of finishing: released = the longest finished prefix of each lane, each item once."""
    tracker: InOrder[int, int] = InOrder()
    begun: dict[int, list[int]] = {0: [], 1: []}
    finished: set[tuple[int, int]] = set()
    released: dict[int, list[int]] = {0: [], 1: []}
    running: list[Ticket[int, int]] = []
    for number in range(data.draw(st.integers(0, 30))):
        if not running or data.draw(st.booleans()):
            lane = data.draw(st.sampled_from((0, 1)))
            running.append(tracker.begin(lane, number))
            begun[lane].append(number)
        else:
            ticket = running.pop(data.draw(st.integers(0, len(running) - 1)))
            finished.add((ticket.lane, ticket.item))
            released[ticket.lane] += tracker.finish(ticket)
        for lane, items in begun.items():
            prefix = []
            for item in items:
                if (lane, item) not in finished:
                    break
                prefix.append(item)
            assert released[lane] == prefix
    assert tracker.pending == sum(map(len, begun.values())) - sum(map(len, released.values()))


def test_a_slow_message_holds_back_later_ones() -> None:
    """The third and second finish first; nothing is released before the first is."""
    tracker: InOrder[str, str] = InOrder()
    first, second, third = (tracker.begin("p0", name) for name in "abc")
    assert tracker.finish(third) == []
    assert tracker.finish(second) == []
    assert tracker.finish(first) == ["a", "b", "c"]


def test_lanes_do_not_wait_for_each_other() -> None:
    """A slow message of one partition holds back no other partition."""
    tracker: InOrder[str, str] = InOrder()
    tracker.begin("p0", "slow")
    assert tracker.finish(tracker.begin("p1", "fast")) == ["fast"]
