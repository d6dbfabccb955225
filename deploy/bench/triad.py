"""A cluster of three `triad serve` on loopback with real fsync, in the manner of the harness's own
classes. Ends only processes that it started."""
import datetime
import json
import os
import shutil
import subprocess

from cluster import DATA, Etcd

TRIAD = os.environ.get("TRIAD_BIN", "triad")
POOLS = 1000
# One pool of each of these sizes, for the workloads with a single hot pool.
HOT = [4, 32, 128, 256, 512, 1024, 2048, 4096, 100_000]


class Triad:
    """`seats`: of each of the thousand pools. `hot`: further sizes of hot pools."""

    def __init__(self, seats=100, hot=()):
        self.n, self.seats, self.hot = 3, seats, [*HOT, *hot]
        self.procs = [None] * self.n
        self.dir = f"{DATA}/triad"

    def ep(self, i):
        # Below those that the system gives to clients: one of them may be anybody's connection.
        return f"127.0.0.1:{31501 + i}"

    def eps(self):
        return [self.ep(i) for i in range(self.n)]

    def start(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.run("license", "keygen", "--out", f"{self.dir}/key")
        nodes = [x for i in range(self.n) for x in ("--node", f"n{i}={self.ep(i)}/{31601 + i}")]
        self.run("init", "--dir", f"{self.dir}/c", "--publisher-key", f"{self.dir}/key/publisher.public", *nodes)
        for i in range(self.n):
            # What is preloaded has to outlive what is measured.
            with open(f"{self.dir}/c/n{i}/triad.toml", "a") as config:
                config.write("\n[session]\nlease_max_ms = 86400000\n")
            self.start_node(i)
        try:
            self.leader_wait()
            self.license()
        except BaseException:
            self.stop()
            raise
        return self

    def start_node(self, i, _state=None):
        log = open(f"{self.dir}/n{i}.log", "ab")
        command = [TRIAD, "serve", "--config", f"{self.dir}/c/n{i}/triad.toml"]
        self.procs[i] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def run(self, *args, check=True):
        env = dict(os.environ, TRIAD_TLS="off", TRIAD_SERVERS=",".join(self.eps()),
                   TRIAD_TOKEN_FILE=f"{self.dir}/c/admin.token")
        done = subprocess.run([TRIAD, *args], capture_output=True, text=True, timeout=60, env=env)
        if check and done.returncode != 0:
            raise SystemExit(f"triad {' '.join(args)}: {done.stderr}")
        return done.stdout

    def license(self):
        today = datetime.datetime.now(datetime.timezone.utc).date()
        with open(f"{self.dir}/c/n0/triad.toml") as config:
            cluster = next(line.split('"')[1] for line in config if line.startswith("cluster_id"))
        features = [(f"pool-{i:04}", self.seats) for i in range(POOLS)] + [(f"hot-{s}", s) for s in self.hot]
        lines = ['license = "bench"', 'publisher = "bench"', "serial = 1", f"issued = {today}",
                 "[binding]", f'cluster = "{cluster}"']
        for name, seats in features:
            lines += ["[[feature]]", f'name = "{name}"', 'version = "2026.1"', f"seats = {seats}",
                      f"expires = {today + datetime.timedelta(days=2)}"]
        with open(f"{self.dir}/terms.toml", "w") as terms:
            terms.write("\n".join(lines) + "\n")
        secret, signed = f"{self.dir}/key/publisher.secret", f"{self.dir}/license.txt"
        self.run("license", "issue", "--key", secret, "--out", signed, f"{self.dir}/terms.toml")
        self.run("license", "apply", signed)

    def leader(self):
        """The node that all which answer name, once they name one."""
        answer = json.loads(self.run("status", "-o", "json", check=False))
        named = {int(node["status"].get("leaderId", 0)) for node in answer["nodes"] if "status" in node}
        return named.pop() - 1 if len(named) == 1 and 0 not in named else None

    def data_dir(self, i):
        return f"{self.dir}/c/n{i}/data"

    leader_wait, leader_first = Etcd.leader_wait, Etcd.leader_first
    pids, kill, stop = Etcd.pids, Etcd.kill, Etcd.stop
