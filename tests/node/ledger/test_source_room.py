"""Which sources give way: what nobody names, then what those brought who brought most, and never what is kept."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from node.ledger.blobs import SOURCE_SET_ASIDE_SECONDS
from node.ledger.source_room import Claim, Holding, Place, give_way
from node.ledger.store import Ledger, Quota
from protocol.records import Hypothesis
from tests.node.records_for_tests import OBJECTIVE, Author

UNNAMED, SETTLED, KEPT = (Place(claim) for claim in (Claim.UNNAMED, Claim.SETTLED, Claim.KEPT))


def brought_by(peer: str) -> Place:
    return Place(Claim.PUSHED, peer)


def held(name: str, size: int, place: Place) -> Holding:
    return Holding(name.encode(), size, place)


def test_what_no_record_names_goes_first() -> None:
    here = [held("junk", 90, brought_by("flooder")), held("unnamed", 20, UNNAMED)]
    assert give_way(here, held("new", 10, brought_by("newcomer")), 10, 100) == [b"unnamed"]


def test_then_the_largest_of_whoever_brought_most() -> None:
    here = [held("small", 10, brought_by("flooder")), held("large", 50, brought_by("flooder"))]
    here += [held("honest", 40, brought_by("peer"))]
    assert give_way(here, held("new", 10, brought_by("newcomer")), 10, 100) == [b"large"]


def test_whoever_brought_most_pushes_nobody_else_out() -> None:
    here = [held("junk", 60, brought_by("flooder")), held("honest", 40, brought_by("peer"))]
    assert give_way(here, held("more", 60, brought_by("flooder")), 60, 100) is None


def test_of_settled_authors_the_largest_source_goes_and_only_for_a_smaller_one() -> None:
    here = [held("large", 60, SETTLED), held("small", 40, SETTLED)]
    assert give_way(here, held("new", 10, SETTLED), 10, 100) == [b"large"]
    assert give_way(here, held("larger", 70, SETTLED), 70, 100) is None


def test_what_is_kept_gives_way_to_nothing() -> None:
    here = [held("kept", 100, KEPT)]
    assert give_way(here, held("new", 10, brought_by("newcomer")), 10, 100) is None
    assert give_way(here, held("kept too", 10, KEPT), 10, 100) is None


# ---- in the ledger ---------------------------------------------------------------------------------------------------


def suggestion(name: str, size: int) -> tuple[Hypothesis, bytes]:
    """A suggestion of a source of this size."""
    content = name.encode().ljust(size)
    return Hypothesis(
        name, "optimizer", "", hashlib.sha256(content).digest(), hashlib.sha256(content).digest()
    ), content


def bring(ledger: Ledger, author: Author, peer: str, name: str, size: int) -> tuple[bool, bytes]:
    """Whether there was room for it, and its id."""
    body, content = suggestion(name, size)
    ledger.add(author.write(body), peer)
    return ledger.put_source(content), hashlib.sha256(content).digest()


def test_junk_of_one_peer_keeps_out_neither_a_newcomer_nor_own_work(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(blob_bytes=4000))
    own = ledger.put_blob(b"own work".ljust(500))
    flooder, newcomer = Author("flooder"), Author("newcomer")
    kept = [bring(ledger, flooder, "a peer", f"junk {n}", 500)[0] for n in range(20)]
    assert sum(kept) == 5  # three quarters of the quota, less what is this node's own
    found, source = bring(ledger, newcomer, "another", "an idea", 400)
    assert found
    assert ledger.has_blob(source)
    assert ledger.has_blob(own)
    assert ledger.sources_given_up() == 16
    assert ledger.put_blob(b"merged here".ljust(900), from_peer=True)
    assert ledger.has_blob(source)
    ledger.close()


def test_what_a_proven_author_names_and_what_is_being_run_here_stays(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(blob_bytes=4000))
    proven, running, flooder = Author("proven"), Author("running"), Author("flooder")
    _, first = bring(ledger, proven, "a peer", "of a proven author", 900)
    ledger.keep_authors({proven.key})
    _, second = bring(ledger, running, "a peer", "being run", 900)
    assert ledger.use_source(second)
    for n in range(20):
        bring(ledger, flooder, f"peer {n}", f"junk {n}", 300)
    assert ledger.has_blob(first)
    assert ledger.has_blob(second)
    ledger.close()


def test_what_was_dropped_is_wanted_again_after_a_while(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(blob_bytes=1000))
    author = Author("somebody")
    _, first = bring(ledger, author, "a peer", "one", 400)
    kept, second = bring(ledger, author, "a peer", "two", 400)
    assert not kept
    assert second not in ledger.wanted_blobs()
    ledger._wanted.want_again(time.monotonic() + SOURCE_SET_ASIDE_SECONDS)
    assert second in ledger.wanted_blobs()
    assert ledger.has_blob(first)
    ledger.close()
