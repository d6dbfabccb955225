#!/usr/bin/env python3
"""Draws the screen of `triad top` for the documentation, as SVG.

A real run: three nodes on this machine, people who hold seats of four features and
some who wait, and `triad top` in tmux. What tmux has on its screen is drawn as text.

    deploy/draw-top.py --triad target/release/triad --out docs/images/top.svg

Needs tmux, and nothing else. Run it again when the screen changes.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

COLUMNS, ROWS = 100, 18
LIMIT_S = 60
# A cell of the drawing, in pixels of a font of 14.
WIDTH, HEIGHT, SIZE = 8.43, 18, 14
BACKGROUND, FOREGROUND = "#101418", "#d7dde2"
COLOURS = ["#8b97a2", "#f0716b", "#7fc97f", "#e5c07b", "#6cb2eb", "#c792ea", "#5fc9c9", "#d7dde2"]

TERMS = """\
license = "acme-2026"
publisher = "Acme"
serial = 1

[binding]
cluster = "{cluster}"
"""
FEATURE = """
[[feature]]
name = "{name}"
version = "2026.1"
seats = {seats}
expires = "permanent"
"""
FEATURES = {"solver": 8, "mesher": 4, "viewer": 20, "cad": 3}
PEOPLE = [
    ("ann", "solver", 3), ("bob", "solver", 2), ("cid", "solver", 3), ("dora", "mesher", 1),
    ("eli", "mesher", 1), ("fay", "viewer", 1), ("gil", "viewer", 1), ("hana", "cad", 2),
]
WAITING = [("ivo", "solver", 2), ("jun", "solver", 1)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Site:
    """Three nodes, and those who use them."""

    def __init__(self, triad, folder):
        self.triad, self.folder, self.running = triad, folder, []
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8",
        }

    def run(self, *words):
        done = subprocess.run(
            [self.triad, *words], env=self.environment, cwd=self.folder, text=True,
            capture_output=True, timeout=LIMIT_S,
        )
        if done.returncode:
            sys.exit(f"triad {' '.join(words)}: {done.stderr}")
        return done.stdout

    def start(self, words, **environment):
        log = open(self.folder / "log", "a")
        self.running.append(subprocess.Popen(
            [self.triad, *words], env=self.environment | environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        ))

    def until(self, what, look):
        ends = time.monotonic() + LIMIT_S
        while not (seen := look()):
            if time.monotonic() > ends:
                sys.exit(f"never: {what}; see the log:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.1)
        return seen

    def begin(self):
        self.run("license", "keygen", "--out", "acme")
        nodes = [f"lic-{n}=127.0.0.1:{free_port()}/{free_port()}" for n in "abc"]
        made = self.run("init", "--dir", "cluster", *[f"--node={node}" for node in nodes],
                        "--publisher-key", "acme/publisher.public")
        self.environment |= {
            "TRIAD_SERVERS": ",".join(n.split("=")[1].split("/")[0] for n in nodes),
            "TRIAD_CA": str(self.folder / "cluster/ca/ca.pem"),
            "TRIAD_TOKEN_FILE": str(self.folder / "cluster/admin.token"),
        }
        for node in ["lic-a", "lic-b", "lic-c"]:
            self.start(["serve", "--config", f"cluster/{node}/triad.toml"])
        self.until("it is healthy", lambda: self.asks("status") == 0)
        return made

    def license(self):
        config = (self.folder / "cluster/lic-a/triad.toml").read_text()
        cluster = re.search(r'cluster_id = "(.*)"', config)[1]
        features = [FEATURE.format(name=name, seats=seats) for name, seats in FEATURES.items()]
        (self.folder / "terms.toml").write_text(TERMS.format(cluster=cluster) + "".join(features))
        self.run("license", "issue", "--key", "acme/publisher.secret", "terms.toml",
                 "--out", "acme.lic")
        self.run("license", "apply", "acme.lic")

    def asks(self, *words):
        return subprocess.run(
            [self.triad, *words], env=self.environment, cwd=self.folder, capture_output=True,
        ).returncode

    def end(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            process.wait()


def tmux(name, *words):
    done = subprocess.run(["tmux", "-L", name, "-f", "/dev/null", *words],
                          capture_output=True, text=True)
    return done.stdout


class Style:
    """How the cells that follow look."""

    def __init__(self):
        self.ink, self.paper, self.bold, self.reverse, self.dim = None, None, False, False, False

    def take(self, codes):
        codes = [int(code or 0) for code in codes.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.dim = True
            elif code == 7:
                self.reverse = True
            elif code in (22, 27):
                self.bold, self.reverse, self.dim = False, False, False
            elif 30 <= code <= 37:
                self.ink = COLOURS[code - 30]
            elif 90 <= code <= 97:
                self.ink = COLOURS[code - 90]
            elif 40 <= code <= 47:
                self.paper = COLOURS[code - 40]
            elif code == 39:
                self.ink = None
            elif code == 49:
                self.paper = None
            elif code in (38, 48) and codes[:1] == [5]:
                setattr(self, "ink" if code == 38 else "paper", COLOURS[codes[1] % 8])
                codes = codes[2:]

    def look(self):
        ink, paper = self.ink or FOREGROUND, self.paper
        if self.reverse:
            ink, paper = paper or BACKGROUND, ink
        if self.dim and not self.reverse:
            ink = COLOURS[0] if ink == FOREGROUND else ink
        return ink, paper, self.bold


def runs(line, style):
    """Stretches of one look: column, text, look."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            style.take(part[2:-1])
        elif part:
            yield column, part, style.look()
            column += len(part)


def drawn(screen):
    width, height = COLUMNS * WIDTH + 32, ROWS * HEIGHT + 60
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" font-size="{SIZE}" '
        'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace">',
        "<title>The screen of triad top</title>",
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
    ]
    for at, colour in enumerate(["#f0716b", "#e5c07b", "#7fc97f"]):
        out.append(f'<circle cx="{20 + at * 20}" cy="20" r="6" fill="{colour}"/>')
    out.append(f'<text x="{width / 2:.0f}" y="25" fill="#8b959e" text-anchor="middle">triad top</text>')
    style = Style()
    for row, line in enumerate(screen.split("\n")[:ROWS]):
        top = 40 + row * HEIGHT
        for column, text, (ink, paper, bold) in runs(line, style):
            x, length = 16 + column * WIDTH, len(text) * WIDTH
            if paper:
                out.append(f'<rect x="{x:.2f}" y="{top}" width="{length:.2f}" height="{HEIGHT}" '
                           f'fill="{paper}"/>')
            if not text.strip():
                continue
            # As wide as its cells, whatever font is there.
            weight = ' font-weight="bold"' if bold else ""
            out.append(f'<text x="{x:.2f}" y="{top + 14}" fill="{ink}"{weight} '
                       f'textLength="{length:.2f}" lengthAdjust="spacingAndGlyphs" '
                       f'xml:space="preserve">{escape(text)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--triad", required=True, type=Path, help="the program")
    arguments.add_argument("--out", required=True, type=Path, help="the drawing")
    arguments = arguments.parse_args()
    name = f"triad-draw-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        site = Site(str(arguments.triad.resolve()), Path(folder))
        try:
            site.begin()
            site.license()
            for user, feature, seats in PEOPLE:
                site.start(["run", "--feature", feature, "--seats", str(seats), "--", "sleep", "600"],
                           USER=user)
            site.until("all hold their seats", lambda: site.run("checkouts", "-o", "csv").count("\n")
                       > len(PEOPLE))
            for user, feature, seats in WAITING:
                site.start(["run", "--feature", feature, "--seats", str(seats), "--wait", "10m", "--",
                            "true"], USER=user)
            site.until("some wait", lambda: site.run("queue", "-o", "csv").count("\n") > len(WAITING))
            environment = " ".join(f"{key}='{value}'" for key, value in site.environment.items())
            command = f"cd {folder}; exec env {environment} TERM=xterm-256color {site.triad} top --interval 500ms"
            tmux(name, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), command)
            # Wait for the screen to have been looked at twice: rates need two.
            site.until("the screen is whole", lambda: "2 waiting" in tmux(name, "capture-pane", "-p"))
            time.sleep(1.5)
            screen = tmux(name, "capture-pane", "-e", "-p")
        finally:
            tmux(name, "kill-server")
            site.end()
    arguments.out.write_text(drawn(screen))
    print(re.sub(r"\x1b\[[0-9;]*m", "", screen))


if __name__ == "__main__":
    main()
