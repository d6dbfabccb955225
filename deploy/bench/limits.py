#!/usr/bin/env python3
"""What the machine itself allows: the figures to hold those of `triad bench` against.

    deploy/bench/limits.py [FOLDER]

FOLDER stands on the disk to be measured; without it, the system's temporary one. Each figure is
measured for two seconds, with nothing of Triad's.
"""

import os
import socket
import sys
import tempfile
import threading
import time

SECONDS = 2.0
RECORD = b"x" * 512
FILE_BYTES = 16 << 20
MESSAGE = b"x" * 64


def times(act, seconds=SECONDS):
    """How long `act` takes, each time, sorted, in seconds."""
    took = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        act()
        took.append(time.perf_counter() - began)
    return sorted(took)


def told(name, took):
    p50, p99 = (took[int(len(took) * part)] * 1e6 for part in (0.5, 0.99))
    print(f"| {name} | {p50:,.0f} us | {p99:,.0f} us |", flush=True)


def sync_appended(file):
    def act():
        os.write(file, RECORD)
        os.fdatasync(file)

    return act


def sync_in_place(file):
    offset = 0

    def act():
        nonlocal offset
        os.pwrite(file, RECORD, offset)
        os.fdatasync(file)
        offset = (offset + len(RECORD)) % FILE_BYTES

    return act


def filled(path):
    """A file whose blocks are there already, as the log's are."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(file, b"\0" * FILE_BYTES)
    os.fsync(file)
    return file


def echo(listener):
    there, _ = listener.accept()
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while message := there.recv(4096):
        there.sendall(message)


def round_trip():
    listener = socket.create_server(("127.0.0.1", 0))
    if os.fork() == 0:
        # A process of its own, as a client and a server are.
        echo(listener)
        os._exit(0)
    here = socket.create_connection(listener.getsockname())
    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def act():
        here.sendall(MESSAGE)
        here.recv(4096)

    return act


def together(paths):
    """Three files synced at the same time, as three nodes of one machine do: of all of them."""
    took = []

    def one(path):
        took.extend(times(sync_in_place(filled(path))))

    threads = [threading.Thread(target=one, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(took)


def main():
    if len(sys.argv) > 2 or any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit(__doc__)
    base = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        print(f"{os.cpu_count()} processors, {folder}\n\n| | p50 | p99 |\n|---|---|---|")
        appended = os.open(os.path.join(folder, "appended"), os.O_WRONLY | os.O_CREAT)
        told("`fdatasync` of 512 bytes at the end of a file", times(sync_appended(appended)))
        one = filled(os.path.join(folder, "one"))
        told("`fdatasync` of 512 bytes where a file has room for them", times(sync_in_place(one)))
        three = [os.path.join(folder, str(n)) for n in range(3)]
        told("the same on three files at once", together(three))
        told("64 bytes there and back on a loopback connection", times(round_trip()))


main()
