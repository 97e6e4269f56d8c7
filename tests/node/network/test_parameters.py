"""The network's numbers fit each other, whichever of them is changed next."""

from __future__ import annotations

from node.ledger.kept_values import MAX_ADDRESSES
from node.network import parameters
from protocol.messages import MAX_FRAME
from protocol.rebroadcast import LATE_SECONDS


def test_the_mesh_is_as_gossipsub_asks() -> None:
    assert parameters.MESH_DEGREE_LOW <= parameters.MESH_DEGREE <= parameters.MESH_DEGREE_HIGH
    assert parameters.GOSSIPED_HEARTBEATS <= parameters.CACHED_HEARTBEATS
    assert 0 > parameters.GOSSIP_THRESHOLD >= parameters.PUBLISH_THRESHOLD > parameters.GRAYLIST_THRESHOLD


def test_a_peer_is_graylisted_before_it_is_banned() -> None:
    assert -parameters.GRAYLIST_THRESHOLD < parameters.OFFENCES_ALLOWED


def test_a_node_dials_for_a_full_mesh_and_has_room_for_peers_that_dial_it() -> None:
    assert parameters.MESH_DEGREE_HIGH <= parameters.PEERS_WANTED < parameters.INCOMING_MOST
    assert (
        parameters.OUTGOING_LEAST
        <= parameters.PEERS_WANTED
        <= parameters.MAX_CONNECTIONS - parameters.INBOUND_CONNECTIONS
    )
    assert parameters.INCOMING_MOST < parameters.INBOUND_CONNECTIONS


def test_some_of_the_incoming_connections_are_never_protected() -> None:
    protected = (
        parameters.PROTECTED_CHOSEN
        + parameters.PROTECTED_PROVEN
        + parameters.PROTECTED_NEAR
        + parameters.PROTECTED_GROUPS
    )
    assert protected <= parameters.INCOMING_OF_A_GROUP < parameters.INCOMING_MOST


def test_a_node_that_has_its_own_peers_still_gives_some_up_for_others() -> None:
    assert parameters.ANCHORS < parameters.OUTGOING_LEAST


def test_a_whole_address_block_is_never_deafened() -> None:
    assert -parameters.COLOCATED_MOST > parameters.GOSSIP_THRESHOLD
    assert -parameters.COLOCATED_MOST < parameters.MESH_THRESHOLD < 0


def test_what_gossip_holds_back_has_been_gossiped_before_it_is_rebroadcast() -> None:
    assert parameters.BATCH_SECONDS < LATE_SECONDS


def test_leaving_takes_little_more_than_a_second() -> None:
    assert parameters.GOODBYE_SECONDS + parameters.LIBRARY_STOP_SECONDS < 1.5
    assert max(parameters.MDNS_STOP_SECONDS, parameters.UPNP_STOP_SECONDS) < 1.0


def test_a_lease_of_a_port_is_renewed_before_half_of_it_is_over() -> None:
    assert parameters.UPNP_RENEW_SECONDS < parameters.UPNP_LEASE_SECONDS / 2


def test_one_message_fits_what_a_peer_may_have_unread() -> None:
    assert MAX_FRAME < parameters.UNREAD_BYTES
    assert parameters.MAX_GOSSIP_BYTES <= parameters.MAX_RPC_BYTES


def test_the_address_book_holds_what_the_ledger_remembers() -> None:
    assert parameters.MAX_CONTACTS == MAX_ADDRESSES
