"""A connection of an ingress process's own to a replica on its machine, for calls that are to cost little.

A call by Serve's handle takes its own gRPC stream with a handshake of its own, in Python on both ends; beside a small
model on a busy machine that is a tenth of the wait for the first token. Over one Unix socket many calls share frames
(:mod:`serve.llm.deployed.channel.frames`). One that is read slowly is sent slowly, and holds up no other
(:mod:`serve.llm.deployed.channel.window`).

Serve still knows of it. A channel is opened by a call of the handle's, which gives the socket's path and lasts as long
as the connection: Serve chooses the replica, counts the call, and waits for its end before it stops the replica. An
ingress takes no channel for longer than :data:`LEASE_SECONDS`, so a replica that is to go gets no calls soon after.
Where there is none, as between machines, calls go by the handle.
"""

LEASE_SECONDS = 5.0
"""How long an ingress makes calls over a channel before it asks Serve for another."""

OPEN_SECONDS = 2.0
"""How long either end waits for the other to open one."""
