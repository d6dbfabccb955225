#!/usr/bin/env python3
"""compare.py RAW: measures etcd, ZooKeeper and Triad alternately, appends every result to RAW as JSON
lines and prints the table of ratios. Runs in a copy of the peers' harness; run.sh makes it.

QUICK=1: each workload once and shortly, to see that everything runs; its figures mean little.
ONLY="core beats": only these sections, of core, beats, failover, silence, growth and recovery."""
import collections
import datetime
import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import bench
from bench import Lock, m, probe_run
from cluster import DATA, Etcd, Zk, gen
from triad import TRIAD, Triad

QUICK = os.environ.get("QUICK", "") not in ("", "0")
ROUNDS = 1 if QUICK else 3
TRIES = 1 if QUICK else 4
SECONDS = 2 if QUICK else 6
WARM = 1 if QUICK else 2
CLIENTS = (64, 256) if QUICK else (64, 256, 1024)
FAILOVERS = {"kill -9": 1 if QUICK else 10, "SIGSTOP": 1 if QUICK else 5, "SIGTERM": 1 if QUICK else 3}
SYSTEMS = {"etcd": functools.partial(Etcd, "3.5.1"), "zk": functools.partial(Zk, heap="2g"), "triad": Triad}
ALL, COUNTED = tuple(SYSTEMS), ("etcd", "triad")

Row = collections.namedtuple("Row", "title better reach aim")
rows, values, failed = {}, {}, set()
others = []


def device_bytes():
    """What was written to the device that the data are on. /proc/PID/io would not do: it counts the whole
    of a large page when a few bytes of it change, and the device does not see them."""
    os.makedirs(DATA, exist_ok=True)
    device = os.stat(DATA).st_dev
    with open("/proc/diskstats") as stats:
        lines = [line.split() for line in stats]
    numbers = [str(os.major(device)), str(os.minor(device))]
    return next((int(line[9]) * 512 for line in lines if line[:2] == numbers), 0)


def gen_beside_the_device(*args, **more):
    before = device_bytes()
    result = gen(*args, **more)
    return dict(result, device_bytes=device_bytes() - before)


# For bench.m, which keeps the quietest of several runs.
bench.gen = gen_beside_the_device


def record(row, system, value, raw):
    rows.setdefault(row.title, row)
    if value is not None:
        values.setdefault((row.title, system), []).append(value)
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    with open(sys.argv[1], "a") as out:
        out.write(json.dumps({"at": at, "row": row.title, "system": system, "value": value, "raw": raw}) + "\n")


def at(*path):
    """What stands at a path of a result."""
    return lambda result: functools.reduce(lambda inner, key: inner[key], path, result)


def measure(name, system, args, told):
    """One run of the generator; `told` are the rows and how each is read from the result."""
    result = m(f"compare-{system}", name, *args, "--backend", system, tries=TRIES)
    if "error" not in result:
        others.append(result.get("other", 0))
    for row, read in told:
        if "error" in result:
            failed.add((row.title, system))
        record(row, system, None if "error" in result else read(result), result)


def turns(systems, n):
    """The systems, another one first each time."""
    return [systems[(n + k) % len(systems)] for k in range(len(systems))]


def workloads():
    """Name, systems, what the generator is told, and the rows."""
    cycles = at("cycles_per_s")
    # Nobody was served: that took no time either.
    p99 = lambda r: r["checkout"]["p99_us"] if r["checkout"]["n"] else None
    window = ["--secs", SECONDS, "--warm", WARM]
    warm = 200
    per_node = lambda r, cycles: round(r["device_bytes"] / cycles / 3) or None
    yield ("W1", ALL, ["serial", "--n", 1000 if QUICK else 3000, "--warm", warm], [
        (Row("W9 serial, bytes to the device per cycle and node", min, "1x", "9,000"), lambda r: per_node(r, r["n"] + warm)),
        (Row("W1 serial, checkout p50, us", min, "0.8x", "350 us"), at("checkout", "p50_us")),
        (Row("W1 serial, checkout p99, us", min, "", "1,000 us"), p99)])
    for c in CLIENTS:
        told = [(Row(f"W2 many pools, {c} clients, cycles/s", max, "2x, 5x etcd", "2.4x-3x, 7x etcd"), cycles)]
        if c == 256:
            told += [(Row("W2, 256 clients, checkout p99, us", min, "", ""), p99),
                     (Row("W2, 256 clients, processor of three nodes, us/cycle", min, "90", "60"), at("server_cpu_us_per_cycle")),
                     (Row("W9, 256 clients, bytes to the device per cycle and node", min, "1x", "400"),
                      lambda r: per_node(r, max(1, r["cycles_per_s"] * (SECONDS + WARM))))]
        yield (f"W2 {c}", ALL, ["tput", "--clients", c, *window], told)
    for c in CLIENTS[1:]:
        yield (f"W2 {c} shared", COUNTED, ["tput", "--clients", c, "--conns", 16, *window], [
            (Row(f"W2, {c} clients on 16 connections, cycles/s", max, "5x", "40,000"), cycles)])
    for c in CLIENTS:
        yield (f"W3b {c}", ALL, ["tput", "--clients", c, "--pools", 1, "--seats", c // 2, *window], [
            (Row(f"W3b hot pool, a seat per two clients, {c}, cycles/s", max, "4x", "as W2"), cycles)])
    counted = ["--pools", 1, "--seats", 100_000, "--strategy", "ctr"]
    for c in (8, 64, 256):
        yield (f"W3c {c}", COUNTED, ["tput", "--clients", c, *counted, *window], [
            (Row(f"W3c hot pool, counted, {c}, cycles/s", max, "0.9x of W2", "0.95x of W2"), cycles)])
    for c in CLIENTS:
        yield (f"W3d {c}", COUNTED, ["tput", "--clients", c, *counted, "--hold-ms", 100, "--think-ms", 100, *window], [
            (Row(f"W3d counted and paced, {c}, cycles/s of {c * 5}", max, "all", "all"), cycles),
            (Row(f"W3d counted and paced, {c}, Jain's fairness", max, "0.95", "0.95"), at("jain")),
            (Row(f"W3d counted and paced, {c}, checkout p99, us", min, "", "20,000 us"), p99)])
    for c in (64, 1024):
        yield (f"W4a {c}", COUNTED, ["hb-max", "--streams", c, "--secs", SECONDS], [
            (Row(f"W4a {c} streams, heartbeats/s", max, "2x", "100,000 / 75,000"), at("keepalives_per_s"))])


def ready(system, make=None):
    """A new cluster, its nodes with the leader first, and its machine warm if it has one to warm."""
    cluster = (make or SYSTEMS[system])().start()
    order = cluster.leader_first()
    if system == "zk":
        gen("tput", "--backend", "zk", "--eps", cluster.eps()[order[0]], "--clients", 64, "--secs", 2 if QUICK else 8)
    return cluster, order


def to(cluster, order):
    return ["--eps", cluster.eps()[order[0]], "--pids", cluster.pids(order)]


def core():
    """Three clusters stand side by side, and two of them rest: each workload is put to one after the other."""
    clusters = {}
    try:
        for system in SYSTEMS:
            clusters[system], _ = ready(system)
        for n in range(ROUNDS):
            for k, (name, systems, args, told) in enumerate(workloads()):
                for system in turns(systems, n + k):
                    cluster = clusters[system]
                    measure(name, system, [*args, *to(cluster, cluster.leader_first())], told)
    finally:
        for cluster in clusters.values():
            cluster.stop()


def alone(systems, n, work, make=None):
    """Each system in a cluster of its own, which is new."""
    for system in turns(systems, n):
        cluster, order = ready(system, make.get(system) if make else None)
        try:
            work(system, cluster, order)
        finally:
            cluster.stop()


def beats(n):
    count, period = (1000, 5) if QUICK else (10_000, 10)

    def work(system, cluster, order):
        where = to(cluster, order)
        if system == "zk":  # one node has no room for all of them
            where = ["--eps", ",".join(cluster.eps()), "--pids", cluster.pids(order)]
        nodes = 3 if system == "zk" else 1
        grown = lambda r: sum(a - b for a, b in zip(r["steady"]["rss_mb"][:nodes], r["whole"]["rss_mb_before"]))
        measure("W4b", system, ["hb-idle", *where, "--streams", count, "--period", period, "--secs", 8 if QUICK else 25, "--ttl", 60], [
            (Row(f"W4b {count} sessions, processor of the leader (ZooKeeper: all), cores", min, "0.07", "0.05"),
             lambda r: round(sum(r["steady"]["cpu_cores"][:nodes]), 3)),
            (Row(f"W4b {count} sessions, memory for each, KiB", min, "45", "16-35"), lambda r: grown(r) * 1024 / count),
            (Row(f"W4b {count} sessions, heartbeats missed", min, "0", "0"), at("missed"))])
    alone(ALL, n, work)


def failover(n):
    signals = {"kill -9": signal.SIGKILL, "SIGSTOP": signal.SIGSTOP, "SIGTERM": signal.SIGTERM}
    aims = {"kill -9": ("60 ms", "25 ms"), "SIGSTOP": ("700 ms", "300 ms"), "SIGTERM": ("14 ms", "10 ms")}
    for fault, runs in FAILOVERS.items():
        def work(system, cluster, order):
            leader = cluster.procs[order[0]].pid

            def act():
                happened = time.monotonic_ns()
                os.kill(leader, signals[fault])
                return happened
            time.sleep(1.5)
            survivors = [cluster.eps()[i] for i in order[1:]]
            frozen_zk = fault == "SIGSTOP" and system == "zk"
            with Lock():
                result = probe_run(cluster, survivors, system, act, secs=25 if frozen_zk else 8)
            print(system, fault, result, flush=True)
            record(Row(f"W5 {fault} of the leader, ms", min, *aims[fault]), system, result["ms"], result)
        systems = COUNTED if fault == "SIGTERM" or (QUICK and fault == "SIGSTOP") else ALL
        for run in range(runs):
            alone(systems, n + run, work)
        for system in systems if runs > 1 else ():
            took = values.get((f"W5 {fault} of the leader, ms", system))
            record(Row(f"W5 {fault} of the leader, the slowest of {runs}, ms", min, "", ""), system, max(took) if took else None, {})


def silence(n):
    count, ttl = (2000, 5) if QUICK else (10_000, 15)

    def work(system, cluster, order):
        with Lock():
            result = gen("reap", "--backend", system, *to(cluster, order), "--n", count, "--ttl", ttl)
        print(system, result, flush=True)
        record(Row(f"W6 {count} dead holders, all free after due, s", min, "1 s", "0.5 s"), system, result.get("after_last_ttl_s"), result)
    alone(COUNTED, n, work)


def growth(n):
    def hold(system, cluster, order, count, *more):
        with Lock():
            result = gen("preload", "--backend", system, *to(cluster, order), "--n", count, *more)
        if "error" in result:
            raise SystemExit(f"{system}: {count} others: {result['error']}")

    for count in (1_000,) if QUICK else (1_000, 10_000):
        def crowded(system, cluster, order):
            # The free seats are 32; ours are counted, theirs have numbers.
            seats = 32 + count if system == "triad" else 32
            pool = ["--pools", 1, "--seats", seats]
            hold(system, cluster, order, count, *pool)
            measure(f"W7 hot {count}", system, ["tput", *to(cluster, order), "--clients", 64, *pool, "--secs", SECONDS, "--warm", WARM], [
                (Row(f"W3b, 64 clients, {count} others in the pool, cycles/s", max, "0.9x of none", "same"), at("cycles_per_s"))])
        alone(ALL, n, crowded, {"triad": lambda: Triad(hot=[32 + count])})
    if QUICK:
        return

    def grown(system, cluster, order):
        held = 0
        for count in (1_000, 100_000):
            hold(system, cluster, order, count - held, "--offset", held)
            held = count
            measure(f"W7 {count}", system, ["serial", *to(cluster, order), "--n", 2000], [
                (Row(f"W7 serial, {count} outstanding, checkout p50, us", min, "flat to 15 %", "10 %"), at("checkout", "p50_us")),
                (Row(f"W7 {count} outstanding, memory of the leader, MiB", min, "120", "60"), lambda r: r["proc"]["rss_mb"][0])])
        folder = cluster.data_dir(order[0]) if system == "triad" else f"{cluster.dir}/n{order[0]}"
        used = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True).stdout.split()[0]
        record(Row("W7 100,000 outstanding, data directory, MiB", min, "128", "64"), system, round(int(used) / 2**20), {})
    alone(ALL, n, grown, {"triad": lambda: Triad(seats=300)})


def recovery(n):
    count, missed = (2_000, 1_000) if QUICK else (100_000, 20_000)

    def caught_up(system, cluster, follower, leader, since):
        where = f"{cluster.eps()[follower]},{cluster.eps()[leader]}"
        with Lock():
            result = gen("catchup", "--backend", system, "--eps", where)
        return round((result["caught_up"] - since) / 1e6) if "caught_up" in result else None, result

    def work(system, cluster, order):
        where = [*to(cluster, order), "--backend", system]
        gen("preload", *where, "--n", count)
        cluster.kill(order[1])
        gen("preload", *where, "--n", missed, "--offset", 900_000)
        since = time.monotonic_ns()
        cluster.start_node(order[1])
        took = caught_up(system, cluster, order[1], order[0], since)
        record(Row(f"W8 a follower returns to {count}, {missed} missed, ms", min, "1,000 ms", "500 ms"), system, *took)
        cluster.stop()
        since = time.monotonic_ns()
        for i in range(cluster.n):
            cluster.start_node(i)
        again = cluster.leader_first()
        took = caught_up(system, cluster, again[1], again[0], since)
        record(Row(f"W8 all three start again at {count + missed}, ms", min, "2,000 ms", "1,000 ms"), system, *took)
    alone(COUNTED, n, work, {"triad": lambda: Triad(seats=300)})


def shown(title, system):
    value = middle(title, system)
    if value is None:
        return "failed" if (title, system) in failed else "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def middle(title, system):
    found = values.get((title, system))
    return statistics.median(found) if found else None


def table():
    version = subprocess.run([TRIAD, "--version"], capture_output=True, text=True).stdout.strip()
    quick = ", QUICK: the figures mean little" if QUICK else ""
    print(f"\n{datetime.date.today()}, {os.cpu_count()} cores, {version}, no TLS; medians{quick}.")
    if others:
        print(f"Other processes used up to {max(others):.2f} cores during a run, {statistics.median(others):.2f} in the median.")
    print("\n| workload | etcd | ZooKeeper | Triad | to the better peer | reach | aim |")
    print("|---|---|---|---|---|---|---|")
    for title, row in rows.items():
        etcd, zk, ours = (middle(title, system) for system in SYSTEMS)
        peers = [value for value in (etcd, zk) if value is not None]
        better = row.better(peers) if peers else None
        ratio = f"{ours / better:.2f}x" if ours is not None and better else "-"
        cells = [title, *(shown(title, system) for system in SYSTEMS), ratio, row.reach, row.aim]
        print(f"| {' | '.join(cells)} |")


def main():
    only = os.environ.get("ONLY", "core beats failover silence growth recovery").split()
    try:
        if "core" in only:
            core()
        for section in (beats, failover, silence, growth, recovery):
            for n in range(ROUNDS if section in (beats, silence) else 1):
                if section.__name__ in only:
                    section(n)
    finally:
        table()


if __name__ == "__main__":
    main()
