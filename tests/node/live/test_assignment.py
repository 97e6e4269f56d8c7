"""Who gets which variant: fairly, the same again, and proved by a signature."""

from __future__ import annotations

from collections import Counter

from node.live.assignment import Answerer, Signer

SIGNER, OTHER = Signer(bytes(32)), Signer(bytes([1] * 32))
VISITORS = [SIGNER.visitor(f"somebody {number}") for number in range(3000)]


def test_every_arm_gets_its_part_and_a_visitor_the_same_one_again() -> None:
    first = [SIGNER.arm(visitor, [1, 2, 3]) for visitor in VISITORS]
    assert first == [Signer(bytes(32)).arm(visitor, [3, 1, 2]) for visitor in VISITORS]
    assert all(880 < count < 1120 for count in Counter(first).values())


def test_when_an_arm_ends_only_its_visitors_move_and_they_are_shared_out() -> None:
    before = [SIGNER.arm(visitor, [1, 2, 3]) for visitor in VISITORS]
    after = [SIGNER.arm(visitor, [1, 3]) for visitor in VISITORS]
    moved = [later for earlier, later in zip(before, after, strict=True) if earlier != later]
    assert len(moved) == before.count(2)
    assert 0.4 < moved.count(1) / len(moved) < 0.6


def test_a_share_of_the_traffic_takes_part_and_is_no_other_in_another_test() -> None:
    mine = [SIGNER.takes_part(visitor, 0.25) for visitor in VISITORS]
    assert 0.2 < sum(mine) / len(mine) < 0.3
    assert mine != [OTHER.takes_part(visitor, 0.25) for visitor in VISITORS]


def test_a_token_says_whose_it_is_and_no_other_key_signs_it() -> None:
    answerer = Answerer(VISITORS[0], 7)
    token = SIGNER.token(answerer)
    assert SIGNER.in_token(token) == answerer
    assert OTHER.in_token(token) is None


def test_a_changed_token_is_none() -> None:
    token = SIGNER.token(Answerer(VISITORS[0], 7))
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        found = SIGNER.in_token(changed)
        assert found is None or changed[:-1] == token[:-1]  # the last letter has bits that stand for nothing
    for text in ("", "x", "é", "A" * 4000, token + "AAAA", token[:-4]):
        assert SIGNER.in_token(text) is None


def test_a_cookie_of_ones_own_making_is_none() -> None:
    cookie = SIGNER.new_cookie()
    number = SIGNER.in_cookie(cookie)
    assert number is not None
    assert cookie.startswith(number)
    for text in ("", ".", "me.", f"me{cookie[2:]}", cookie[:-2]):
        assert SIGNER.in_cookie(text) is None
    assert OTHER.in_cookie(cookie) is None
