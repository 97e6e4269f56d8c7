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
MESH_OUTGOING = 2  # of these, that this node dialled at least, where there are any; D_out, GossipSub v1.1
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
MESH_THRESHOLD = -3.0  # offences; below it, a peer is not in the mesh; v1.1 has 0: one offence may be no ill will
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
PRESENCES_OF_A_FORWARDER = 256.0  # of peers unknown here, at once; a guess: a swarm that is met all at once
PRESENCES_OF_A_FORWARDER_PER_SECOND = 4.0  # twice GREETINGS_PER_SECOND, which is more than all nodes publish
PRESENCES_OF_A_STRANGER = 64.0  # the same of a peer that dialled this node; a guess: a small swarm behind it
PRESENCES_OF_A_STRANGER_PER_SECOND = 0.5  # PRESENCES_PER_SECOND
FORWARDERS_KEPT = 1024  # a guess: many times the peers that are ever connected at once

# ---- anti_entropy.py -------------------------------------------------------------------------------------------------

SYNC_EVERY_SECONDS = 60.0  # between two syncs with a random peer; simulated in docs/scaling.md
SYNC_SOONEST_SECONDS = 1.0  # between two sessions that this node opens with one peer; a guess
SYNCS_PER_PEER = 2  # sessions one peer may have open with this node: one opened by either side at the same time
SYNCS_IN_ALL = 16  # sessions that peers may have open with this node; a guess
SYNC_TURN_SECONDS = 2.0  # without a new record, after which a session no longer keeps others from being opened; a guess
SYNC_TURN_MOST_SECONDS = 60.0  # after which it does not even if it goes on bringing some; a guess
UNWANTED_PER_SESSION = 256  # records for which there is no room, after which a session is over; a guess
RECORDS_PER_CHECKPOINT = 64  # opened records that are stored before other tasks get their turn: some ms
PROOFS_PER_CHECKPOINT = 16  # proofs of forks that are checked and stored before that: some ms of signatures
VERIFIERS = 2  # threads that check the signatures of what sync sessions bring; the least processors a node is given
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
# Peers at one address of the internet, P6 of GossipSub v1.1's score: minus the square of those beyond the threshold. It
# never reaches GOSSIP_THRESHOLD, so that a house or institute behind one address is out of the mesh, but heard.
COLOCATED_ALLOWED = 4  # a guess: a household or a small lab; Lighthouse and Prysm allow 3 and 10
COLOCATED_MOST = 4.0  # offences that it counts for at most

# ---- host.py and libp2p_patches: connections and streams -------------------------------------------------------------

MAX_CONNECTIONS = 128  # a guess: ten times PEERS_WANTED, and 128 MiB when each fills one window
INBOUND_CONNECTIONS = 96  # of these, that peers may have opened; the rest is for those this node dials
ACCEPTED_OF_A_HOST = 64.0  # connections of one machine of the internet, at once; a guess: an institute behind a router
ACCEPTED_OF_A_HOST_PER_SECOND = 0.5  # afterwards; a guess: a handshake costs some 30 ms of CPU, so this is 2 % of one
HANDSHAKES = 64  # such connections in all, of INBOUND_CONNECTIONS; beyond it the oldest make way; a guess
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
NAMED_AGAIN_SECONDS = 60.0  # between two looks at one that is not, doubled while nothing changes; a guess
NAMED_MOST_SECONDS = 960.0  # between two such looks; a guess

# ---- frames.py, sessions.py and seats.py -----------------------------------------------------------------------------

FRAME_SECONDS = 10.0  # for one message on a stream, either way; a guess
READ_BYTES = 256 << 10  # read from a stream at once: Yamux's first window
SEAT_SETTLE_SECONDS = 2.0  # for which a session keeps its seat whatever it does; a guess: a handshake over 300 ms
SEAT_LEAST_RATE = 2048.0  # bytes a second, below which a session gives its seat up where all are taken; a guess
SESSION_SECONDS = 300.0  # for a sync or blob session; a guess: 256 MiB, the most a sync may bring, at 7 Mbit/s

# ---- discovery/addresses.py and swarm.py: which peers ----------------------------------------------------------------

PEERS_WANTED = 12  # connections, up to which this node dials: MESH_DEGREE_HIGH
OUTGOING_LEAST = MESH_DEGREE  # connections that it dials itself, however many peers have dialled it; Bitcoin Core: 10
OUTGOING_OF_A_GROUP = 2  # of these, in one network group while others are known; Bitcoin Core has 1, of 10
INCOMING_MOST = 32  # connections that peers opened; a guess: nodes that can be dialled serve others
INCOMING_OF_A_GROUP = 16  # of these, from one network group: half, so that one attacker never fills them
# Of incoming connections, when one has to go, these stay. Bitcoin Core has 8, 8, 4 and 4 of about 115; here about half.
PROTECTED_CHOSEN = 4  # that a person named or that are on the local network; Bitcoin Core keeps all of them
PROTECTED_PROVEN = 4  # that last brought records which this node's own runs stand for
PROTECTED_NEAR = 4  # with the shortest round trip, which an attacker cannot feign from afar
PROTECTED_GROUPS = 4  # one each of networks drawn with a secret key
NEWCOMERS = 4  # of incoming connections, that may be younger than the next when there are too many; a guess
SETTLED_SECONDS = 20.0  # within which a newcomer has heard of other nodes; go-libp2p's grace period
PROVEN_WORK_SECONDS = 3600.0  # for which who brought proven work is not given up for another; a guess: a few trials
ANCHORS = 4  # outgoing connections never given up for others, and dialled first at the next start; Bitcoin Core: 2
ANCHORS_SECONDS = 60.0  # between two times at which they are noted; a guess: a crash costs a minute of them
REPLACE_SECONDS = 600.0  # after which one connection is given up for another, so that the graph stays random; a guess
REST_SECONDS = 60.0  # before a peer that was given up for another is dialled again; a guess
LASTED_SECONDS = 30.0  # before which a peer that hangs up had no room for this node; a guess: SETTLED_SECONDS and some
DIALS_AT_ONCE = 8  # a guess
BACKOFF_FIRST_SECONDS = 1.0  # doubled with each failure; a guess
BACKOFF_MOST_SECONDS = 300.0  # between two attempts at a contact that does not answer; a guess
BACKOFF_ALONE_SECONDS = 20.0  # the same while no peer is connected, when waiting long costs most; a guess
MAX_CONTACTS = 512  # in the address book, as in the ledger (node.ledger.kept_values.MAX_ADDRESSES); a guess
CLAIMED_CONTACTS_LEAST = 128  # of these, for peers not reached yet; a guess: a quarter, so that newcomers have a place
CONTACTS_OF_A_HOST = 8  # addresses claimed at one machine of the internet; a guess: a few nodes behind one router
CONTACTS_OF_A_GROUP = 32  # the same in one network group; a guess: a sixteenth of the book
ADDRESSES_PER_CONTACT = 8  # a guess
FAILURES_BEFORE_REPLACED = 6  # dials of a contact that failed, after which it makes room for a new one: about a minute
# Dials at the word of strangers. Only what fails counts: whoever is named gets so many connections of this node.
DIALS_OF_A_HOST = 2.0  # at once; a guess: a handful
DIALS_OF_A_HOST_PER_SECOND = 2 / 600  # a guess: so few that nobody minds
DIALS_OF_A_GROUP = 8.0  # at once; a guess
DIALS_OF_A_GROUP_PER_SECOND = 8 / 600  # a guess
CLAIMED_DIALS_AT_ONCE = 16.0  # in all; twice DIALS_AT_ONCE
CLAIMED_DIALS_PER_SECOND = 0.5  # a guess: thirty a minute find one honest address of ten in about as long as a backoff
CLAIM_WAIT_SECONDS = 30.0  # before an address that had to wait for its turn is tried again; a guess
HOSTS_REMEMBERED = 4096  # that were dialled so; at CLAIMED_DIALS_PER_SECOND this takes longer than a token to come back
IDENTIFY_SECONDS = 3.0  # within which a new peer has said where it listens; a guess
TWIN_SECONDS = 30.0  # a connection that its peer has given up brings nothing for so long; a guess
NETWORK_CHECK_SECONDS = 10.0  # how often this node checks whether its addresses changed; a guess
SLEPT_SECONDS = 30.0  # by which wall clock and process clock differ when this machine has slept; a guess
TASK_RESTART_SECONDS = 1.0  # after which a failed task of the network begins again; a guess

# ---- discovery/kad and discovery/rendezvous.py: finding strangers by a DHT -------------------------------------------

DHT_BUCKET = 20  # servers in a bucket, and to which a provider is announced; k, kad-dht specification
DHT_ASKED_AT_ONCE = 6  # servers that a lookup asks at once; alpha; kad-dht has 10, Kademlia 3
DHT_ASKED_MOST = 48  # servers that one lookup asks; a guess: two and a half times DHT_BUCKET
DHT_CANDIDATES = 128  # servers not asked yet that a lookup remembers; a guess: six answers' worth
DHT_LOOKUP_SECONDS = 30.0  # for one lookup; a guess: some dead servers in a row
DHT_VISIT_SECONDS = 8.0  # for dialling one server, and for its answer: DIAL_SECONDS
DHT_ANSWER_SECONDS = 8.0  # for one message, either way; a guess
DHT_MESSAGE_BYTES = 1 << 16  # a guess: 20 + 20 peers with eight addresses each take 16 KiB
DHT_PEERS_PER_MESSAGE = 20  # of each kind, in one message: DHT_BUCKET
DHT_SERVERS = 512  # in the table; a guess: 20 in each of 25 buckets, which is a DHT of millions
DHT_SERVERS_OF_A_GROUP = 8  # of these, of one network group; a guess
DHT_SERVERS_OF_A_GROUP_IN_A_BUCKET = 2  # go-libp2p-kbucket has 2 of a bucket too, and 3 in all
DHT_FAILURES = 2  # in a row, after which a server leaves the table; a guess
DHT_STREAMS = 32  # of requests being answered at once; a guess: a quarter of MAX_CONNECTIONS
DHT_STREAMS_OF_A_CROWD = 8  # of these, from one network group, or machine of the local network; a guess
DHT_REQUESTS_PER_STREAM = 16  # go-libp2p sends several requests on a stream; a guess
DHT_REQUESTS_OF_A_CROWD = 200.0  # requests at once; a guess: a few lookups of each of some nodes
DHT_REQUESTS = 800.0  # of all at once; a guess
DHT_REQUESTS_PER_SECOND = 5.0  # afterwards, of a crowd, and four times that of all; a guess: 1 % of a core
DHT_CHECKS_WAITING = 64  # peers that may become servers in the table; a guess
DHT_CHECK_SECONDS = 1.0  # between two of them; a guess: who has asked has hung up by then
PROVIDER_SECONDS = 3600.0  # for which a record is kept; the specification has 48 hours, for content, not for peers
PROVIDER_RECORDS = 16_384  # in all; a guess: some 16 MiB
PROVIDER_RECORDS_OF_A_KEY = 64  # a guess: any 20 of them are told
PROVIDER_RECORDS_OF_A_PEER = 16  # objectives that one node is in; a guess
PROVIDERS_FOUND_MOST = 64  # in one lookup; a guess
RENDEZVOUS_ANNOUNCE_SECONDS = 1200.0  # between two announcements: a third of PROVIDER_SECONDS
RENDEZVOUS_EARLY = (
    4  # lookups that announce this node too, before it is done regularly; a guess: servers come to know of it
)
RENDEZVOUS_FIRST_SECONDS = 1.0  # before the second lookup, doubled each time; a guess
RENDEZVOUS_MOST_SECONDS = 300.0  # between two lookups while there are too few connections; a guess
RENDEZVOUS_CHECK_SECONDS = 5.0  # how often it is checked whether there are too few; a guess
FOREIGN_SECONDS = 15.0  # within which a new peer shows that it is of this swarm, or nothing is learnt of it; a guess
FOREIGN_REST_SECONDS = 600.0  # before a peer of another swarm is dialled again; a guess: it may change over

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
SOURCE_FIRST_RETRY_SECONDS = 1.0  # before a source that no peer had is asked for again, then twice as long; a guess
SOURCE_RETRY_SECONDS = 20.0  # the longest such wait; a guess
SOURCE_NO_ROOM_SECONDS = 60.0  # before any source is asked for again when the disk is full; a guess
SOURCES_AT_ONCE = 8  # sources that others wait for; a guess: two peers' worth of sessions
SOURCE_PLACE_SECONDS = 0.5  # after which others no longer wait for a source that is being fetched; a guess
SOURCES_IN_A_ROW = 32  # sources begun before it is decided again which are needed most; a guess: some seconds
SOURCES_IN_ALL = 128  # sources being fetched; a guess: each is a few tasks, most of them waiting for a silent peer
SLOW_PEER_SECONDS = 60.0  # for which a peer that did not answer in NEXT_PEER_SECONDS is asked last; a guess
JOIN_ROUNDS = 3  # times that all addresses of an invite are tried; a guess
JOIN_PAUSE_SECONDS = 2.0  # before the second round, and twice that before the third; a guess
