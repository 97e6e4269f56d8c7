"""Where all seats are taken, those who hold many and use them little give way to somebody who holds none."""

from __future__ import annotations

from contextlib import ExitStack

import trio
import trio.testing

from node.network.parameters import SEAT_SETTLE_SECONDS
from node.network.seats import Seat, Seats


def take(seats: Seats, peer: str, stack: ExitStack) -> Seat | None:
    return stack.enter_context(seats.take(peer))


async def test_a_peer_has_its_few_and_all_together_theirs(autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(2, 3, lambda peer: peer)
    with ExitStack() as stack:
        assert [take(seats, peer, stack) is not None for peer in "aaabc"] == [True, True, False, True, False]
        assert seats.is_over_its_own("a")
        assert not seats.is_over_its_own("c")
    with ExitStack() as stack:
        assert take(seats, "a", stack) is not None


async def test_eight_slow_peers_keep_no_seat_from_a_newcomer(autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(4, 32, lambda peer: peer)
    with ExitStack() as stack:
        held = [take(seats, f"slow {number % 8}", stack) for number in range(32)]
        assert take(seats, "newcomer", stack) is None, "they have only just begun"
        await trio.sleep(SEAT_SETTLE_SECONDS)
        newcomer = take(seats, "newcomer", stack)
        assert newcomer is not None
        assert sum(seat is not None and seat.scope.cancel_called for seat in held) == 1
        await trio.sleep(SEAT_SETTLE_SECONDS)
        newcomer.bytes_moved = 1 << 20
        for number in range(8):
            take(seats, f"slow {number}", stack)
        assert not newcomer.scope.cancel_called


async def test_those_of_one_network_group_count_together(autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(1, 4, lambda peer: peer[0])
    with ExitStack() as stack:
        held = [take(seats, peer, stack) for peer in ("x1", "x2", "x3", "y1")]
        for seat in held:
            assert seat is not None
            seat.bytes_moved = 1 << 20
        await trio.sleep(SEAT_SETTLE_SECONDS)
        assert take(seats, "y2", stack) is not None
        assert [seat.scope.cancel_called for seat in held if seat].count(True) == 1
        assert held[3] is not None
        assert not held[3].scope.cancel_called
        assert take(seats, "x4", stack) is None
