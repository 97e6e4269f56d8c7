"""Floods of records: many keys, many bytes, piles on which the folds of a careless node would choke, and odd ones.

All of these records are signed and well formed. They are brought by a peer that speaks the protocol as it should, in
sync sessions, or published by gossip.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from attacks.attack import Attack, Figures
from attacks.scene import Scene
from node.ledger.pool import Bringer
from node.ledger.store import Ledger, Quota
from node.network import Settings, open_network
from protocol.feed import Fork
from protocol.identity import Identity
from protocol.messages import GossipRecord, encode_gossip
from protocol.records import Audit, Body, Effect, Experiment, Hypothesis, Pair, Record, Replication, Run, Unknown
from protocol.records import sign_record as sign
from tests.node.network.stranger import stranger_on
from tests.node.records_for_tests import BASELINE, OBJECTIVE, Author, checked, experiment, source

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
KEYS = 10_000
PILE = 10_000  # records of one key
BYTES = 120_000_000
BYTES_OF_ONE = 60_000
NESTED, LONG = 4_000, 4_000  # keys, a record each
TURNCOATS = 10_000
FORKS = 5_000
GOSSIPED = 2_000
UNTIL_FLOODED_SECONDS = 60.0
FAR_FUTURE = 1 << 53  # milliseconds since 1970: 285,000 years, and no record can be of a later time
ANY_RUN = Run(2.0, 1.0, 1000, (), None)


def new_key() -> Identity:
    return Identity.from_seed(os.urandom(32))


def feed(identity: Identity, bodies: Iterable[Body], time: int = 0) -> list[Record]:
    """One author's records, each signed and linked to the one before."""
    before, made = bytes(32), list[Record]()
    for seq, body in enumerate(bodies):
        made.append(sign(identity, OBJECTIVE, seq, before, time, body))
        before = made[-1].id
    return made


@asynccontextmanager
async def peer_with(
    scene: Scene,
    records: Iterable[Record],
    own: Iterable[Body] = (),
    forks: Sequence[Fork] = (),
    contents: Sequence[bytes] = (),
) -> AsyncIterator[None]:
    """A peer that brings these to the attacked node, in sync sessions as long as the block lasts.

    own: what it says itself. Of others' its own ledger takes no more than any node's does.
    """
    identity = new_key()
    scene.keys += 1
    path = scene.folder / f"hostile-{os.urandom(4).hex()}.sqlite"
    ledger = Ledger.open(path, OBJECTIVE, Quota(authors=1 << 30, unproven_bytes=1 << 40))
    try:
        for record in records:
            ledger.keep_authors({record.author})
            ledger.add(record, "own")
        for body in own:
            ledger.append_own(identity, body, 0)
        for content in contents:
            ledger.put_blob(content)
        for fork in forks:
            ledger.add_fork(fork, Bringer("own"))
        settings = Settings([LOOPBACK], [scene.victim.address])
        async with open_network(identity, ledger, settings, lambda *_, **__: None):
            yield
    finally:
        ledger.close()


async def flooded_by(scene: Scene, records: Sequence[Record], own: Sequence[Body] = ()) -> Figures:
    """Newcomers during the flood and after it, and what it does to the fold and the memory of who is attacked."""
    async with peer_with(scene, records, own):
        await scene.until(lambda: scene.victim.state["records"] > 0, 10.0)
        newcomer = await scene.newcomer_heard(0)
        await scene.flooded(len(records) + len(own), UNTIL_FLOODED_SECONDS)
    later = await scene.newcomer_heard(1)
    memory = scene.memory_mib
    return {
        "newcomer": newcomer,
        "newcomer_later": later,
        "fold": await scene.fold_seconds(),
        "memory": memory,
    }


# ---- keys, bytes and piles -------------------------------------------------------------------------------------------


async def calm(scene: Scene) -> Figures:
    newcomer = await scene.newcomer_heard(0)
    await trio.sleep(10.0)
    memory = scene.memory_mib
    return {"newcomer": newcomer, "fold": await scene.fold_seconds(), "memory": memory}


async def made_up_keys(scene: Scene) -> Figures:
    scene.keys += KEYS
    return await flooded_by(scene, [sign(new_key(), OBJECTIVE, 0, bytes(32), 0, Unknown("x", {})) for _ in range(KEYS)])


async def made_up_classes(scene: Scene) -> Figures:
    claim = Author("somebody").write(experiment("A claim"))
    assert isinstance(claim.body, Experiment)
    about = (claim.id, claim.body.parent, claim.body.child)
    scene.keys += 1
    pile = feed(
        new_key(),
        [Replication(*about, f"c{n}", "d", "", "unclear", None, None, (), None, "", None) for n in range(PILE)],
    )
    figures = await flooded_by(scene, [claim, *pile])
    return {**figures, "fold_all": await scene.fold_seconds_of([claim, *pile])}


async def chain_of_claims(scene: Scene) -> Figures:
    """Each claims to be made from the one before, so that everything behind it is looked at for each."""
    scene.keys += 1
    sources = [BASELINE, *(source(f"made up {n}") for n in range(PILE))]
    chain = feed(new_key(), [experiment(f"claim {n}", sources[n], sources[n + 1]) for n in range(PILE)])
    figures = await flooded_by(scene, chain)
    return {**figures, "fold_all": await scene.fold_seconds_of(chain)}


async def adopted_lineages(scene: Scene) -> Figures:
    """Half are a chain of claims; of the others each says that it adopted, as a whole, what led to one of them."""
    scene.keys += 2
    half = PILE // 2
    sources = [BASELINE, *(source(f"made up {n}") for n in range(half))]
    chain = feed(new_key(), [experiment(f"claim {n}", sources[n], sources[n + 1]) for n in range(half)])
    effect = Effect(-0.01, 0.001, 1)
    adoptions = [
        Replication(
            claim.id, sources[n], sources[n + 1], "cpu", "d", "", "unclear", None, None, (), sources[n + 1], "whole",
            effect, sources[n],
        )
        for n, claim in enumerate(chain)
    ]  # fmt: skip
    pile = [*chain, *feed(new_key(), adoptions)]
    figures = await flooded_by(scene, pile)
    return {**figures, "fold_all": await scene.fold_seconds_of(pile)}


async def unknown_bytes(scene: Scene) -> Figures:
    count = BYTES // BYTES_OF_ONE
    return await flooded_by(scene, [], [Unknown("x", {"x": os.urandom(BYTES_OF_ONE)}) for _ in range(count)])


async def empty_lists(scene: Scene) -> Figures:
    """Records of a kilobyte that take sixty in memory: lists of empty lists."""
    scene.keys += NESTED
    body = Unknown("x", {"x": [[]] * 900})
    return await flooded_by(scene, [sign(new_key(), OBJECTIVE, 0, bytes(32), 0, body) for _ in range(NESTED)])


async def long_experiments(scene: Scene) -> Figures:
    """Experiments as long as they may be, of many keys: as many pairs and checkpoints, and as long a text."""
    long = Run(2.0, 1.0, 1000, tuple((step, 2.0) for step in range(16)), None)
    body = Experiment(
        "t" * 100, "c", "r" * 500, "p", BASELINE, source("long"), source("l"), "cpu", "d", "", "improved",
        Effect(-0.3, 0.001, 8), None, 1.0, Pair(0, long, long), tuple(Pair(n, long, long) for n in range(8)),
    )  # fmt: skip
    scene.keys += LONG
    return await flooded_by(scene, [sign(new_key(), OBJECTIVE, 0, bytes(32), 0, body) for _ in range(LONG)])


async def vouching_keys(scene: Scene) -> Figures:
    """Ten thousand keys find each other's made-up reports on one claim right."""
    claim = Author("somebody").write(experiment("A claim"))
    assert isinstance(claim.body, Experiment)
    pile, before = list[Record](), None
    for _ in range(PILE // 2):
        scene.keys += 1
        pair = (Pair(1, ANY_RUN, ANY_RUN),)
        about = (claim.id, claim.body.parent, claim.body.child, "cpu", "d", "", "supports", Effect(-0.2, 0.01, 1), None)
        report: Body = Replication(*about, pair, None, "", None, platform="p", proof=os.urandom(80))
        bodies: list[Body] = [report]
        if before is not None:
            bodies.append(Audit(claim.id, before.id, "cpu", "d", "p", "", pair[0]))
        records = feed(new_key(), bodies)
        before = records[0]
        pile += records
    figures = await flooded_by(scene, [claim, *pile])
    return {**figures, "fold_all": await scene.fold_seconds_of([claim, *pile])}


async def turncoat(scene: Scene) -> Figures:
    """A key whose reports were found right, so that they count, then reports on one claim in thousands of classes."""
    me, once_good = Author("the attacked node"), Author("turncoat")
    checked(me.write, once_good)
    claim = Author("claimant").write(experiment("A claim"))
    scene.keys += 1
    for number in range(TURNCOATS):
        once_good.report(claim, compute_class=f"c{number}")
    pile = [*me.records, *once_good.records, claim]
    return {"fold_all": await scene.fold_seconds_of(pile, me.key)}


# ---- forks, repetitions, odd times -----------------------------------------------------------------------------------


async def forks(scene: Scene) -> Figures:
    """Proofs of thousands of forked feeds by sync, and one key that forks again and again by gossip."""

    def fork() -> Fork:
        key = new_key()
        one, other = (sign(key, OBJECTIVE, 0, bytes(32), 0, Unknown("x", {"x": n})) for n in range(2))
        return Fork(key.author, OBJECTIVE, 0, one.wire(), other.wire())

    scene.keys += FORKS + 1
    proofs = [fork() for _ in range(FORKS)]
    async with stranger_on(scene.victim.address, OBJECTIVE) as stranger:
        for number in range(GOSSIPED // 10):
            record = sign(stranger.identity, OBJECTIVE, 0, bytes(32), number, Unknown("x", {}))
            try:
                await stranger.gossip(stranger.message(encode_gossip(GossipRecord(record.wire()))))
            except Exception:  # it was thrown out
                break
    async with peer_with(scene, [], forks=proofs):
        await trio.sleep(1.0)
        newcomer = await scene.newcomer_heard(0)
        await trio.sleep(8.0)
    later = await scene.newcomer_heard(1)
    memory = scene.memory_mib
    return {"newcomer": newcomer, "newcomer_later": later, "fold": await scene.fold_seconds(), "memory": memory}


async def repeated_and_from_the_future(scene: Scene) -> Figures:
    """Few records said again and again as new messages, all of the last time that a record can have."""
    scene.keys += 1
    async with stranger_on(scene.victim.address, OBJECTIVE) as stranger, trio.open_nursery() as nursery:
        ideas = (Hypothesis(f"i{n}", "optimizer", "r" * 300, None, None) for n in range(50))
        wires = [encode_gossip(GossipRecord(r.wire())) for r in feed(stranger.identity, ideas, FAR_FUTURE)]

        async def repeat() -> None:
            for number in range(GOSSIPED):
                try:
                    await stranger.gossip(*(stranger.message(wires[(number + n) % len(wires)]) for n in range(5)))
                except Exception:  # thrown out: it comes again
                    await trio.sleep(1.0)
                await trio.sleep(0.005)

        nursery.start_soon(repeat)
        await trio.sleep(2.0)
        newcomer = await scene.newcomer_heard(0)
        await trio.sleep(5.0)
        nursery.cancel_scope.cancel()
    later = await scene.newcomer_heard(1)
    memory = scene.memory_mib
    return {"newcomer": newcomer, "newcomer_later": later, "fold": await scene.fold_seconds(), "memory": memory}


FLOODS = (
    Attack("nothing", "no attack: what all of this is beside", calm),
    Attack("keys", f"{KEYS:,} keys, a record each, in one session", made_up_keys, 2),
    Attack("classes", f"one key, {PILE:,} records on one claim, each of another made-up class", made_up_classes, 2),
    Attack("chain", f"one key, {PILE:,} claims, each made from the one before", chain_of_claims, 2),
    Attack(
        "lineages", f"{PILE // 2:,} claims in a chain, and as many adoptions of what led to each", adopted_lineages, 2
    ),
    Attack("bytes", f"one key, {BYTES // 10**6} MB of records of an unknown kind", unknown_bytes, 2),
    Attack("empty lists", f"{NESTED:,} keys, a record each that takes 60 times its size in memory", empty_lists, 2),
    Attack("long records", f"{LONG:,} keys, an experiment each that is as long as it may be", long_experiments, 2),
    Attack("vouching", f"{PILE // 2:,} keys that report and find each other right", vouching_keys, 2),
    Attack("turncoat", f"a key found right before, {TURNCOATS:,} reports in made-up classes", turncoat, 0),
    Attack("forks", f"{FORKS:,} proofs of forked feeds; one key that forks on and on", forks, 2),
    Attack("repetitions", "old records again and again, from the far future", repeated_and_from_the_future, 2),
)
