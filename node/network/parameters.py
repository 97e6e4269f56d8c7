"""Network parameters: every limit, interval and degree of node/network, each with its unit and where it comes from.

Where a number comes from is one of: a specification (then it is named), a measurement (then the script or page that has
the figure), another number here that it follows from, or a guess, and then why about this much. Of guesses it is known
only that swarms of up to some dozen real nodes run well with them.

The specifications of GossipSub (v1.0 and v1.1) and Yamux are in github.com/libp2p/specs. Limits of what is on the wire
are in protocol/, since every client must keep to them.

It knows no code: it is read by the modules named in the headings, and by scripts that play a swarm.
"""

from __future__ import annotations

from protocol.records import MAX_RECORD_BYTES

# ---- gossip.py: the mesh of GossipSub --------------------------------------------------------------------------------

MESH_DEGREE = 6  # peers; D, GossipSub v1.0
MESH_DEGREE_LOW = 4  # peers; D_low, GossipSub v1.0
MESH_DEGREE_HIGH = 12  # peers; D_high, GossipSub v1.0
LAZY_DEGREE = 6  # peers outside the mesh to which a heartbeat announces recent messages; D_lazy, GossipSub v1.0: D
HEARTBEAT_SECONDS = 1  # heartbeat_interval, GossipSub v1.0
FIRST_HEARTBEAT_SECONDS = 0.1  # py-libp2p's default, as go-libp2p has it
CACHED_HEARTBEATS = 6  # heartbeats for which a message can still be asked for; mcache_len, in GossipSub v1.0 it is 5
GOSSIPED_HEARTBEATS = 3  # of these, the last ones, whose messages are announced; mcache_gossip, GossipSub v1.0
PRUNE_BACKOFF_SECONDS = 60  # PruneBackoff, GossipSub v1.1
UNSUBSCRIBE_BACKOFF_SECONDS = 10  # UnsubscribeBackoff, GossipSub v1.1
CONTROL_PER_SECOND = 1000.0  # IHAVE, and IWANT, of one peer; py-libp2p's 10 is less than two nodes that meet need

# A peer's score is minus its offences of the last minute (peer_score.py). GossipSub v1.1 asks that GossipThreshold < 0,
# PublishThreshold <= GossipThreshold and GraylistThreshold < PublishThreshold; how far apart, the application chooses.
# Guesses: a quarter, half and three quarters of the 20 offences that end in a ban.
GOSSIP_THRESHOLD = -5.0  # offences; below it, recent messages are not announced to a peer
PUBLISH_THRESHOLD = -10.0  # offences; below it, a peer is not sent what this node publishes
GRAYLIST_THRESHOLD = -15.0  # offences; below it, nothing a peer says is read

# ---- gossip.py: what is published, and how often ---------------------------------------------------------------------

MAX_GOSSIP_BYTES = MAX_RECORD_BYTES + 256  # bytes of a message: one record and its envelope
BATCH_SECONDS = 30.0  # for which a record that is not urgent waits for company; a guess: half the interval of syncs
BATCH_BYTES = MAX_RECORD_BYTES // 2  # of records in one message; a guess: a batch passes on as quickly as a long record
PUBLISHED_PER_SECOND = 10.0  # messages of one publisher, beyond which they are dropped; a guess: far above honest use
PUBLISHED_AT_ONCE = 300.0  # messages of one publisher in a burst; half a minute's worth of the rate above
PUBLISHERS_KEPT = 4096  # publishers whose rate is remembered; a guess: a few hundred KiB
RECENT_KEPT = 1024  # record ids of records that came lately; a guess: many times what arrives within one flood
PRESENCE_SECONDS = 30.0  # between two announcements of a node's presence in a small swarm; a guess
PRESENCE_SOONEST_SECONDS = 2.0  # presence of one peer more often than this is not passed on; a guess
PRESENCES_PER_SECOND = 0.5  # of all nodes together; measured: at 30 s each, 12 idle nodes did little else
GREETINGS_PER_SECOND = 2.0  # of all nodes together: where many come at once, each would be greeted by all for each
PRESENCES_MISSED = 4  # announcements, after which what a peer said is stale; a guess
PRESENCES_KEPT = 1024  # peers whose presence is remembered; a guess: about 1 MiB

# ---- anti_entropy.py -------------------------------------------------------------------------------------------------

SYNC_EVERY_SECONDS = 60.0  # between two syncs with a random peer; simulated in docs/scaling.md
SYNC_SOONEST_SECONDS = 1.0  # between two sessions that this node opens with one peer; a guess
SYNCS_PER_PEER = 2  # sessions one peer may have open with this node: one opened by either side at the same time
SYNCS_IN_ALL = 16  # sessions that peers may have open with this node; a guess
SYNC_TURN_SECONDS = 2.0  # without a new record, after which a session no longer keeps others from being opened; a guess
SYNC_TURN_MOST_SECONDS = 60.0  # after which it does not even if it goes on bringing some; a guess
UNWANTED_PER_SESSION = 256  # records for which there is no room, after which a session is over; a guess
RECORDS_PER_CHECKPOINT = 16  # records taken in before other tasks get their turn: some ms of signatures
GAP_SYNC_SECONDS = 0.2  # from a gap to the sync that fills it; a guess: the missing record may be just arriving
SYNC_NOT_OPENED_SECONDS = 15.0  # for which a peer that dialled us is expected to open the first sync; a guess

# ---- peer_score.py ---------------------------------------------------------------------------------------------------

OFFENCES_ALLOWED = 20  # offences within OFFENCE_SECONDS, after which a peer is banned; a guess
OFFENCE_SECONDS = 60.0  # a guess
BAN_SECONDS = 60.0  # a guess: a broken client that was restarted is let in again, and a hostile one costs little
LOGGED_FIRST = 5  # refusals of one kind and reason that are logged one by one; a guess
LOGGED_EVERY = 100  # refusals, after those, for each of which there is one line; a guess
REASONS_PER_PEER = 32  # reasons told apart for each peer; more share one count; a guess
PEERS_REMEMBERED = 4096  # a guess: far more than are ever connected

# ---- host.py and libp2p_patches: connections and streams -------------------------------------------------------------

MAX_CONNECTIONS = 128  # a guess: ten times PEERS_WANTED, and 128 MiB when each fills one window
HANDSHAKES_PER_ADDRESS = 16  # connections from one IP address that are not through their handshake; a guess
DIAL_SECONDS = 8.0  # a guess: TCP sends its first packet again after 1, 3 and 7 s (RFC 6298)
HANDSHAKE_SECONDS = 8.0  # for Noise and Yamux, at either side; a guess
NEGOTIATE_SECONDS = 20.0  # for a new stream, at both ends; a guess: a peer's machine may have more to do than it can
OPEN_SILENT_SECONDS = 6.0  # after which a silent connection, on which a stream is being opened, is dead; a guess
WRITE_SECONDS = 10.0  # for one write, after which the peer counts as one that does not read; a guess
RESET_SECONDS = 1.0  # for the reset of a stream or connection; a guess
GOODBYE_SECONDS = 0.5  # for telling peers that this node leaves; with the next, leaving takes about a second
LIBRARY_STOP_SECONDS = 0.8  # for all that the library does at its end
YAMUX_WINDOW_BYTES = 1 << 20  # a peer may have in flight on one stream; Yamux begins at 256 KiB. 8 MB/s at 120 ms
UNREAD_BYTES = 8 << 20  # a peer may have waiting unread on all streams of one connection: eight windows
STREAMS_PER_PEER = 64  # streams a peer may have open to this node at a time; a guess: an honest peer has under ten
MAX_RPC_BYTES = 1 << 20  # of one pubsub message; py-libp2p's and go-libp2p's default
MAX_SUBSCRIPTIONS = 16  # in one pubsub message; there is one topic
MESSAGE_IDS_PER_CONTROL = 1000  # message ids looked at in one IHAVE or IWANT; GossipSub v1.1 asks for a cap

# ---- peer_check.py and discovery/named_peers.py ----------------------------------------------------------------------

CHECK_CONNECT_SECONDS = 5.0  # for TCP; a guess: its first packet and the next two, sent after 1 and 3 s (RFC 6298)
CHECK_HELLO_SECONDS = 2.0  # for the first bytes; a guess
CHECK_STEP_SECONDS = 5.0  # for each thing that a peer is asked; a guess
CHECK_PINGS = 3  # a guess: the first also pays for whatever has to wake
NAMED_FIRST_SECONDS = 3.0  # after which a peer that a person named should be connected; a guess
NAMED_AGAIN_SECONDS = 60.0  # between two looks at one that is not; a guess

# ---- frames.py, sessions.py and seats.py -----------------------------------------------------------------------------

FRAME_SECONDS = 10.0  # for one message on a stream, either way; a guess
READ_BYTES = 256 << 10  # read from a stream at once: Yamux's first window
SEAT_SETTLE_SECONDS = 2.0  # for which a session keeps its seat whatever it does; a guess: a handshake over 300 ms
SEAT_LEAST_RATE = 2048.0  # bytes a second, below which a session gives its seat up where all are taken; a guess
SESSION_SECONDS = 300.0  # for a sync or blob session; a guess: 256 MiB, the most a sync may bring, at 7 Mbit/s

# ---- discovery/addresses.py and swarm.py: which peers ----------------------------------------------------------------

PEERS_WANTED = 12  # connections, up to which this node dials: MESH_DEGREE_HIGH
PEERS_MOST = 32  # connections, beyond which one is given up, any one; a guess: nodes that can be dialled serve others
REPLACE_SECONDS = 600.0  # after which one connection is given up for another, so that the graph stays random; a guess
REST_SECONDS = 60.0  # before a peer that was given up for another is dialled again; a guess
DIALS_AT_ONCE = 8  # a guess
BACKOFF_FIRST_SECONDS = 1.0  # doubled with each failure; a guess
BACKOFF_MOST_SECONDS = 300.0  # between two attempts at a contact that does not answer; a guess
BACKOFF_ALONE_SECONDS = 20.0  # the same while no peer is connected, when waiting long costs most; a guess
MAX_CONTACTS = 512  # in the address book, as in the ledger (node.ledger.store.MAX_ADDRESSES); a guess
ADDRESSES_PER_CONTACT = 8  # a guess
FAILURES_BEFORE_REPLACED = 6  # dials of a contact that failed, after which it makes room for a new one: about a minute
IDENTIFY_SECONDS = 3.0  # within which a new peer has said where it listens; a guess
NETWORK_CHECK_SECONDS = 10.0  # how often this node checks whether its addresses changed; a guess
SLEPT_SECONDS = 30.0  # by which wall clock and process clock differ when this machine has slept; a guess
TASK_RESTART_SECONDS = 1.0  # after which a failed task of the network begins again; a guess

# ---- discovery/mdns.py and discovery/upnp.py -------------------------------------------------------------------------

MDNS_ANSWER_MILLISECONDS = 2000  # for the details of a name; a guess
MDNS_NAMES_WAITING = 64  # names found and not yet looked at; a guess
MDNS_STOP_SECONDS = 0.7  # for taking our name back; within the second that leaving the network takes
UPNP_DISCOVER_MILLISECONDS = 2000  # for a gateway to answer; a guess
UPNP_LEASE_SECONDS = 3600  # for which the router is asked to keep the port open; a guess: gone soon after a crash
UPNP_RENEW_SECONDS = 1500.0  # before half the lease is over
UPNP_OTHER_PORTS = 3  # random ports tried when ours is taken by another machine of the network; a guess
UPNP_STOP_SECONDS = 0.7  # for having the port closed again; as MDNS_STOP_SECONDS

# ---- content/ and objective_fetch.py: sources and data ---------------------------------------------------------------

BLOBS_PER_PEER = 4  # blob sessions one peer may have open with this node; a guess
BLOBS_IN_ALL = 32  # blob sessions that peers may have open with this node; a guess
BLOB_REQUEST_BYTES = 8 << 20  # of requests that one session may bring: for more content than it has time for
NEXT_PEER_SECONDS = 1.5  # before another peer is asked for the same content beside the first; a guess
FETCH_SECONDS = 120.0  # for one content, all peers together; a guess
LIARS_REMEMBERED = 1024  # peers that vouched for false content; a guess
DOWNLOAD_PEERS = 6  # peers that one content comes from at once; a guess
PIECES_AHEAD = 2  # pieces one peer is asked for before the first of them is here: one on its way, one being read
PIECE_HOLDERS = 2  # peers that one piece is asked of at once, when no other is left; a guess
PIECE_SECONDS = 60.0  # in which a piece of 1 MiB must come: 140 kbit/s; a guess
STALLED_SECONDS = 120.0  # without any new piece, after which a download is given up; twice the above
OUTLINE_TURN_SECONDS = 30.0  # for which one outline is followed where peers give several; a guess
OUTLINES_AT_ONCE = 8  # told apart; more are not listened to until one of them is gone; a guess
MAX_FALSE_OUTLINES = 8  # each of which has cost the whole content, after which the download is given up; a guess
LACKING_SECONDS = 15.0  # before a peer that lacks the content is asked again; a guess
FAILED_SECONDS = 2.0  # before a peer whose session failed is asked again; a guess
NEW_PEERS_SECONDS = 1.0  # how often a download looks for new peers; a guess
HASH_BYTES_AT_ONCE = 16 << 20  # read and hashed in a thread at once; a guess: some 10 ms
SOURCE_SETTLE_SECONDS = 0.5  # after a record or peer came, before its sources are asked for; a guess
SOURCE_RETRY_SECONDS = 20.0  # before a source that no peer had is asked for again; a guess
SOURCE_NO_ROOM_SECONDS = 60.0  # before any source is asked for again when the disk or the quota is full; a guess
SOURCES_AT_ONCE = 8  # sources that others wait for; a guess: two peers' worth of sessions
SOURCE_PLACE_SECONDS = 0.5  # after which others no longer wait for a source that is being fetched; a guess
SOURCES_IN_A_ROW = 32  # sources begun before it is decided again which are needed most; a guess: some seconds
SOURCES_IN_ALL = 128  # sources being fetched; a guess: each is a few tasks, most of them waiting for a silent peer
SLOW_PEER_SECONDS = 60.0  # for which a peer that did not answer in NEXT_PEER_SECONDS is asked last; a guess
JOIN_ROUNDS = 3  # times that all addresses of an invite are tried; a guess
JOIN_PAUSE_SECONDS = 2.0  # before the second round, and twice that before the third; a guess
