#!/usr/bin/env python3
"""plug_in.py COPY TREE: makes a copy of the peers' harness know Triad.

The back end is a file of ours beside the generator's own. What has to change in theirs is small and
is checked: each place has to be there exactly once, or nothing is written."""
import pathlib
import shutil
import sys

# (file, what stands there, what stands there afterwards)
EDITS = [
    # A variant of the session.
    ("gen/src/backend.rs", "    Zk(ZkSess),\n}", "    Zk(ZkSess),\n    Triad(crate::triad::TriadSess),\n}"),
    ("gen/src/backend.rs", '            b => return Err(',
     '            "triad" => Sess::Triad(crate::triad::TriadSess::connect(cfg, &ep, i as u64).await?),\n            b => return Err('),
    ("gen/src/backend.rs", "            Sess::Zk(s) => s.checkout(pool, t).await,",
     "            Sess::Zk(s) => s.checkout(pool, t).await,\n            Sess::Triad(s) => s.checkout(pool, t).await,"),
    ("gen/src/backend.rs", "            Sess::Zk(s) => s.checkin(g, t).await,",
     "            Sess::Zk(s) => s.checkin(g, t).await,\n            Sess::Triad(s) => s.checkin(g, t).await,"),
    ("gen/src/main.rs", "mod echo;", "mod echo;\nmod triad;\nmod triad_stream;"),
    # Heartbeats.
    ("gen/src/main.rs", '        let Sess::Etcd(mut s) = s else {',
     "        let s = match s {\n"
     "            Sess::Triad(s) => { hs.push(tokio::spawn(triad::beat_without_pause(s, on.clone(), off.clone()))); continue }\n"
     "            s => s,\n"
     "        };\n"
     '        let Sess::Etcd(mut s) = s else {'),
    ("gen/src/main.rs", "                Sess::Zk(s) => { // the client library pings by itself",
     "                Sess::Triad(mut s) => {\n"
     "                    s.while_waiting(tokio::time::sleep(Duration::from_secs_f64(period * fastrand::f64()))).await?;\n"
     "                    let mut iv = tokio::time::interval(Duration::from_secs_f64(period));\n"
     "                    while !off.load(Relaxed) {\n"
     "                        s.while_waiting(iv.tick()).await?;\n"
     "                        let x = Instant::now();\n"
     "                        if s.beat().await.is_err() { missed.fetch_add(1, Relaxed); break }\n"
     "                        if on.load(Relaxed) && !off.load(Relaxed) { h.record(us(x.elapsed()))?; }\n"
     "                    }\n"
     "                }\n"
     "                Sess::Zk(s) => { // the client library pings by itself"),
    # The failover probe, and what is spoken without a session stream.
    ("gen/src/main.rs", "            let s = Sess::connect(&c1, ei).await?;",
     '            if c1.backend == "triad" { return triad::probe(&a, &c1, ei).await; }\n'
     "            let s = Sess::connect(&c1, ei).await?;"),
    ("gen/src/main.rs", "        c1.eps = vec![ep.clone()];",
     "        c1.eps = vec![ep.clone()];\n        let a = Args(a.0.clone());"),
    ("gen/src/main.rs", "                Sess::Zk(s) => {\n                    // One session",
     "                Sess::Triad(_) => {}\n                Sess::Zk(s) => {\n                    // One session"),
    ("gen/src/main.rs", '            "preload" => preload(',
     '            c if a.s("backend", "") == "triad" && ["preload", "reap", "catchup"].contains(&c) => match c {\n'
     '                "preload" => triad::preload(&a, &cfg(&a)).await,\n'
     '                "reap" => triad::reap(&a, &cfg(&a)).await,\n'
     '                _ => triad::catchup(&a).await,\n'
     '            },\n'
     '            "preload" => preload('),
    ("gen/Cargo.toml", '\nprost = "0.14"', '\nprost = "0.14"\nbytes = "1"\nh2 = "0.4"\nhttp = "1"\n'
     'triad-proto = { path = "@TREE@/crates/triad-proto" }'),
]


def main(copy, tree):
    texts = {}
    for file, before, after in EDITS:
        text = texts.setdefault(file, (copy / file).read_text())
        found = text.count(before)
        if found != 1:
            raise SystemExit(f"{file}: found {found} times, not once:\n{before}\nIs this another version of the harness?")
        texts[file] = text.replace(before, after.replace("@TREE@", str(tree)))
    for file, text in texts.items():
        (copy / file).write_text(text)
    here = pathlib.Path(__file__).parent
    shutil.copy(here / "backend.rs", copy / "gen/src/triad.rs")
    shutil.copy(here / "stream.rs", copy / "gen/src/triad_stream.rs")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve())
