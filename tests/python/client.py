#!/usr/bin/env python3
"""A Triad client written from proto/triad/v1/licensing.proto alone.

It opens a session, checks out one feature, sends heartbeats, returns the seat and closes, and
prints as JSON what happened. It finds the leader by itself, and when the leader goes away it
resumes the session at the next one, as long as its lease lasts.

    client.py --servers lic-a:27070,lic-b:27070,lic-c:27070 --ca ca.pem --feature solver --beats 3

Needs: pip install grpcio grpcio-tools googleapis-common-protos
"""

import argparse
import asyncio
import collections
import getpass
import json
import os
import pathlib
import random
import socket
import sys
import tempfile
import time

import grpc
from google.rpc import status_pb2
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
PROTOCOL_VERSION = 1
# Every node's certificate carries this name, whatever host it runs on.
NODE_NAME = "node.triad"
# How long one node may take to connect and to answer.
ANSWER_TIMEOUT_S = 5.0
# How long to wait, at least and at most, once all nodes have been asked in vain.
BACKOFF_MIN_S = 0.05
BACKOFF_MAX_S = 1.0

# What a dead node or network looks like, while writing, while reading, and while waiting.
BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.TimeoutError)

# The exit codes of the `triad` command.
EXIT_ERROR, EXIT_UNREACHABLE, EXIT_NO_SEAT, EXIT_NOT_ENTITLED = 1, 5, 6, 7


def generate_stubs():
    """Generates and imports the stubs, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="triad-stubs-") as folder:
        files = [f"triad/v1/{name}.proto" for name in ("licensing", "refusal")]
        out = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if protoc.main(["protoc", f"-I{PROTO}", *out, *files]) != 0:
            sys.exit(f"{PROTO}: the stubs could not be generated; the compiler's words are above")
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        from triad.v1 import licensing_pb2, licensing_pb2_grpc, refusal_pb2

        sys.path.remove(folder)
    return licensing_pb2, licensing_pb2_grpc, refusal_pb2


wire, services, refusals = generate_stubs()


class Denied(Exception):
    """A no that is final: asking the same again gets the same."""

    def __init__(self, refusal):
        super().__init__(refusal.message)
        self.refusal = refusal


class Lost(Exception):
    """The session is over, or nobody could be reached before the lease ran out."""


class Moved(Exception):
    """This stream is of no more use; go on at another node."""

    def __init__(self, refusal=None, to_address=""):
        super().__init__(refusal.message if refusal else "leadership is moving")
        self.refusal = refusal
        self.to_address = to_address or (refusal.leader_address if refusal else "")


def refusal_of(error):
    """The typed refusal inside a gRPC error, or None. Clients decide by it, never by the text."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                refusal = refusals.Refusal()
                if detail.Unpack(refusal):
                    return refusal
    return None


class Session:
    """One session with the cluster. Its identity outlives every connection."""

    def __init__(self, servers, ca, patience_s, story):
        self.servers = servers
        self.credentials = grpc.ssl_channel_credentials(root_certificates=ca)
        self.story = story
        self.session_id = os.urandom(16)
        self.holder = wire.Holder(
            user=getpass.getuser(),
            host=socket.gethostname(),
            application="client.py",
            pid=os.getpid(),
        )
        self.next_beat = 1
        self.next_request = 1
        self.was_open = False
        self.closing = False
        self.lease_s = self.heartbeat_interval_s = 0.0
        # Until when our seats are safe. It is counted from when the last acknowledged heartbeat
        # was *sent*; before the first answer it bounds how long we look for a leader.
        self.held_until = time.monotonic() + patience_s
        self.address = None
        self.channel = None
        self.stream = None
        self.events = collections.deque()

    # What an application does.

    async def open(self):
        """Opens the session at the leader."""
        await self.reconnect(None)

    async def checkout(self, feature, seats):
        """Takes seats; returns the grant. Raises Denied."""
        request = self.next_request
        self.next_request += 1
        # Our requests come one at a time: all earlier ones have been answered.
        take = wire.Take(
            request_id=request,
            answered_through=request - 1,
            items=[wire.Item(feature=feature, seats=seats)],
        )
        event = await self.call(
            wire.SessionCall(take=take), lambda event: event.taken.request_id == request
        )
        if event.taken.WhichOneof("outcome") == "denial":
            raise Denied(event.taken.denial)
        return event.taken.grant

    async def beat(self):
        """Sends one heartbeat and waits until the server has extended the lease."""
        beat = self.next_beat
        self.next_beat += 1
        sent_at = time.monotonic()
        call = wire.SessionCall(beat=wire.Beat(beat=beat))
        # Without an answer the session was reopened, which counted as a later heartbeat.
        if await self.exchange(call, lambda event: event.beat.beat >= beat):
            self.held_until = sent_at + self.lease_s

    async def checkin(self, checkout_id):
        """Returns a checkout; says whether it was still held."""
        request = self.next_request
        self.next_request += 1
        give_back = wire.GiveBack(
            request_id=request, answered_through=request - 1, checkout_id=checkout_id
        )
        event = await self.call(
            wire.SessionCall(give_back=give_back),
            lambda event: event.given_back.request_id == request,
        )
        return event.given_back.was_held

    async def close(self):
        """Ends the session and with it every seat it still holds."""
        self.closing = True
        try:
            await self.call(wire.SessionCall(close=wire.Close()), lambda event: False)
        except Lost:
            await self.hang_up()

    # How it stays connected.

    async def call(self, call, is_answer):
        """Sends a call until it is answered. A repeated request id gets the first answer."""
        while True:
            if event := await self.exchange(call, is_answer):
                return event

    async def exchange(self, call, is_answer):
        """Sends a call; returns its answer, or None if the session had to be reopened instead."""
        try:
            await self.send(call)
            while True:
                event = await self.next_event()
                if is_answer(event):
                    return event
        except BROKEN as error:
            await self.reconnect(self.why(error))
        except Moved as moved:
            await self.reconnect(moved)
        return None

    async def send(self, call):
        request = wire.SessionRequest(calls=[call])
        await asyncio.wait_for(self.stream.write(request), ANSWER_TIMEOUT_S)

    async def next_event(self):
        """The next event of the stream; what ends stream or session becomes an exception."""
        while not self.events:
            response = await asyncio.wait_for(self.stream.read(), ANSWER_TIMEOUT_S)
            if response is grpc.aio.EOF:
                raise Lost("closed") if self.closing else Moved()
            self.events.extend(response.events)
        event = self.events.popleft()
        if event.HasField("ended"):
            reason = wire.EndReason.Name(event.ended.reason)
            what = f"checkout {event.ended.checkout_id}" if event.ended.checkout_id else "session"
            raise Lost(f"the {what} was ended by the server: {reason} {event.ended.message}")
        if event.HasField("moving"):
            raise Moved(to_address=event.moving.to_address)
        return event

    async def reconnect(self, why):
        """Opens or resumes the session at whichever node leads, until the lease runs out."""
        if self.was_open:
            self.story["resumed"] += 1
        # To leave the old stream before there is a new one would be to die.
        before, self.channel, self.stream = self.channel, None, None
        try:
            await self.search(why)
        finally:
            if before:
                await before.close()

    async def search(self, why):
        """Asks all nodes in turn."""
        backoff_s = BACKOFF_MIN_S
        hint = why.to_address if why else ""
        last = why
        while True:
            # A node that names the leader is believed, once for each round through all nodes.
            candidates = collections.deque(dict.fromkeys(filter(None, [hint, *self.servers])))
            followed = {hint}
            retry_after_s = 0.0
            while candidates:
                if time.monotonic() >= self.held_until:
                    raise Lost(f"no leader was found in time; the last word was: {last}")
                address = candidates.popleft()
                try:
                    await self.open_at(address)
                    return
                except Moved as moved:
                    last = moved
                    self.story["tried"].append({"address": address, "answer": str(moved)})
                    if moved.refusal:
                        retry_after_s = max(retry_after_s, moved.refusal.retry_after_ms / 1000)
                    if moved.to_address and moved.to_address not in followed:
                        followed.add(moved.to_address)
                        candidates.appendleft(moved.to_address)
            hint = ""
            wait_s = max(retry_after_s, backoff_s * random.uniform(0.5, 1.0))
            await asyncio.sleep(min(wait_s, max(0.0, self.held_until - time.monotonic())))
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def open_at(self, address):
        """Opens or resumes the session at this node, or raises Moved."""
        await self.hang_up()
        self.address = address
        options = [
            ("grpc.ssl_target_name_override", NODE_NAME),
            # Else gRPC remembers a node that was down, and for how long to avoid it.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self.channel = grpc.aio.secure_channel(address, self.credentials, options=options)
        self.stream = services.LicensingServiceStub(self.channel).Session()
        beat = self.next_beat
        self.next_beat += 1
        call = wire.Open(
            session_id=self.session_id,
            holder=self.holder,
            protocol_version=PROTOCOL_VERSION,
            resume=self.was_open,
            beat=beat,
        )
        sent_at = time.monotonic()
        try:
            await self.send(wire.SessionCall(open=call))
            event = await self.next_event()
        except BROKEN as error:
            raise self.why(error) from error
        if not event.HasField("opened"):
            raise Lost(f"{address} answered `open` with {event}")
        self.was_open = True
        self.lease_s = event.opened.lease_ms / 1000
        self.heartbeat_interval_s = event.opened.heartbeat_interval_ms / 1000
        self.held_until = sent_at + self.lease_s

    def why(self, error):
        """What a broken stream means: another node may know better, unless the refusal is final."""
        if isinstance(error, grpc.aio.AioRpcError):
            refusal = refusal_of(error)
            if refusal and not refusal.retryable and refusal.reason != refusals.REASON_NOT_LEADER:
                raise Denied(refusal) from error
            return Moved(refusal) if refusal else Moved(refusals.Refusal(message=error.details()))
        return Moved(refusals.Refusal(message=f"{self.address} did not answer"))

    async def hang_up(self):
        self.events.clear()
        if self.channel:
            await self.channel.close()
            self.channel = self.stream = None


async def run(options):
    """One session from beginning to end; returns the story and the exit code."""
    story = {"servers": options.servers, "tried": [], "resumed": 0}
    ca = pathlib.Path(options.ca).read_bytes()
    session = Session(options.servers, ca, options.timeout_s, story)
    story["session_id"] = session.session_id.hex()
    try:
        await session.open()
        story["opened"] = {
            "leader": session.address,
            "lease_ms": int(session.lease_s * 1000),
            "heartbeat_interval_ms": int(session.heartbeat_interval_s * 1000),
        }
        grant = await session.checkout(options.feature, options.seats)
        story["granted"] = {
            "checkout_id": grant.checkout_id,
            "items": [{"feature": item.feature, "seats": item.seats} for item in grant.items],
        }
        story["beats"] = 0
        pause_s = session.heartbeat_interval_s
        if options.beat_every_ms is not None:
            pause_s = options.beat_every_ms / 1000
        for _ in range(options.beats):
            await asyncio.sleep(pause_s)
            await session.beat()
            story["beats"] += 1
        story["was_held"] = await session.checkin(grant.checkout_id)
        story["leader"] = session.address
        await session.close()
        story["closed"] = True
        return story, 0
    except Denied as denied:
        reason = refusals.Reason.Name(denied.refusal.reason)
        story["denied"] = {"reason": reason, "message": denied.refusal.message}
        full = denied.refusal.reason == refusals.REASON_LICENSES_EXHAUSTED
        ledgers = 2000 <= denied.refusal.reason < 3000
        code = EXIT_NO_SEAT if full else EXIT_NOT_ENTITLED if ledgers else EXIT_ERROR
        if session.was_open:
            await session.close()
        return story, code
    except Lost as lost:
        story["lost"] = str(lost)
        await session.hang_up()
        return story, EXIT_ERROR if session.was_open else EXIT_UNREACHABLE


def main():
    parser = argparse.ArgumentParser(description="Checks out a seat, keeps it, and returns it.")
    parser.add_argument("--servers", required=True, help="host:port of each node, by comma")
    parser.add_argument("--ca", required=True, help="the cluster's certificate authority, PEM")
    parser.add_argument("--feature", required=True)
    parser.add_argument("--seats", type=int, default=1)
    parser.add_argument("--beats", type=int, default=3, help="how many heartbeats to send")
    parser.add_argument("--beat-every-ms", type=int, help="default: as the server says")
    parser.add_argument("--timeout-s", type=float, default=15.0, help="how long to seek a leader")
    options = parser.parse_args()
    options.servers = [server.strip() for server in options.servers.split(",")]
    story, code = asyncio.run(run(options))
    print(json.dumps(story, indent=2))
    sys.exit(code)


if __name__ == "__main__":
    main()
