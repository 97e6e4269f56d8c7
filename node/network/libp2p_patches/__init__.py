"""Patches for py-libp2p 0.8.1: what it needs around it so that no peer can end, stall or fill this process.

`connections` mends connections, streams and the library's services; `pubsub` mends gossip. Each patch names the fault
it mends; all were seen on the library as it is released. Where somebody else has reported a fault, the number of the
issue or change at github.com/libp2p/py-libp2p is given. No file of the library is changed: its classes are subclassed,
and single methods of single instances are replaced. Why it is done so is in docs/decisions/libp2p-patches.md.

It knows the library's insides and nothing of records, sync or content. When the library is upgraded, this is the
package to read again, patch by patch.
"""
