"""Reads the text of lmstat on stdin as its known kinds of readers do, and says
on stdout, as JSON, what each understood. Written from what such readers expect:
an exporter that wants whole lines, a scheduler that wants exact ones, a monitor
that looks for single words, one that counts bad news, a portal that wants one
sentence, and a script that splits at blanks."""

import json
import re
import sys


def exporter(text):
    """Lines must match from end to end; servers are keyed by their first label."""
    servers, features, vendors, feature = {}, {}, {}, None
    for line in text.splitlines():
        if m := re.match(r"^License server status: ([\w,.@-]+)", line):
            for named in m[1].split(","):
                port, host = named.split("@")
                servers[host.lower().split(".")[0]] = {"port": port, "up": False, "master": False}
        elif m := re.search(r"([\w.-]+): license server (\w+)( \(MASTER\))? (v[\d.]+)$", line):
            # A server that the status line did not name is a KeyError here.
            server = servers[m[1].lower().split(".")[0]]
            server.update(up=m[2] == "UP", master=bool(m[3]))
        elif m := re.match(r"^\s+(\w+): (UP|DOWN) (v[\d.]+)$", line):
            vendors[m[1]] = m[2] == "UP"
        elif m := re.match(
            r"^Users of (.*):\s+\(Total of (\d+) \w+ issued;\s+Total of (\d+) \w+ in use\)$", line
        ):
            feature = features[m[1]] = {
                "issued": int(m[2]), "used": int(m[3]), "users": {}, "reserved": {}, "queued": 0,
            }
        elif m := re.match(
            r"^\s+([\x20-\x7e]+) [\w.-]+ [\x20-\x7e]+ \(v[\w.]+\) \([\w.-]+/\d+ \d+\), "
            r"start \w+ \d+/\d+ \d+:\d+(?:, (\d+) \w+)?$", line
        ):
            users = feature["users"]
            users[m[1]] = users.get(m[1], 0) + int(m[2] or 1)
        elif m := re.match(
            r"^\s+[\x20-\x7e]+ [\w.-]+ [\x20-\x7e]+ [0-9.]+ \(v[\w.]+\) \([\w.-]+/\d+ \d+\)\s+"
            r"queued for (\d+) licenses?$", line
        ):
            feature["queued"] += int(m[1])
        elif m := re.match(r"^\s*(\d+)\s+\w+\s+for\s+(?:HOST_GROUP|GROUP)\s+(\w+).*$", line):
            feature["reserved"][m[2]] = int(m[1])
    return {"servers": servers, "vendors": vendors, "features": features}


def scheduler(text):
    """Counts what is free, and who runs where."""
    free, holders, feature = {}, [], None
    for line in text.splitlines():
        if m := re.match(
            r"^Users of ([A-Za-z0-9_:-]+):  \(Total of (\d+) licenses issued;  "
            r"Total of (\d+) licenses in use\)$", line
        ):
            feature = m[1]
            free[feature] = int(m[2]) - int(m[3])
        elif m := re.match(
            r"^\s+(\S+) ([a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*) (\S+) \(([^() ]+)\) "
            r"\(([a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*)/(\d+) (\d+)\), "
            r"start (\S+) (\d+/\d+) (\d+:\d+)(?:, (\d+) licenses)?$", line
        ):
            holders.append([feature, m[1], m[2], int(m[7]), int(m[11] or 1)])
    return {"free": free, "holders": holders}


def monitor(text):
    """All well, one of three missing, or nothing there."""
    up = re.findall(r"^\s*([\w.-]+): license server UP", text, re.M)
    master = re.search(r"([^\s]+): license server UP \(MASTER\)", text)
    daemons = re.findall(r"^\s+(\S+): UP v", text, re.M)
    if not up or not daemons or "Error getting status" in text:
        state = "CRITICAL"
    else:
        state = "OK" if len(up) >= 3 else "WARNING"
    return {"state": state, "up": sorted(up), "master": master[1] if master else None}


def alarmist(text):
    """Counts the lines above the features that have a word of bad news in them: one
    is a server that is missed, more are an outage. What else is there it does not
    look at."""
    bad_news = re.compile(r"[Cc]annot|[Uu]nable|refused|down|[Ww]in[Ss]ock")
    above = text.partition("Feature usage info:")[0]
    count = sum(bool(bad_news.search(line)) for line in above.splitlines())
    return {"state": ("OK", "WARNING")[count] if count < 2 else "CRITICAL", "lines": count}


def portal(text):
    """Is content with any server that is up, unless a vendor daemon is said to be down
    in these very words."""
    is_up = re.search(r"license server UP (?:\(MASTER\) )?v\d[\d.]*$", text, re.I | re.M)
    down = re.findall(r"^\s*(\S+): .*vendor daemon is down", text, re.I | re.M)
    return {"state": "up" if is_up and not down else "down", "daemons_down": down}


def splitter(text):
    """As awk and cut do."""
    used = {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Users of ") and "Total" in line:
            used[words[2].rstrip(":")] = [int(words[5]), int(words[10])]
    return {"used": used, "starts": sum(", start " in line for line in text.splitlines())}


if __name__ == "__main__":
    told = sys.stdin.read()
    readers = (exporter, scheduler, monitor, alarmist, portal, splitter)
    print(json.dumps({reader.__name__: reader(told) for reader in readers}))
