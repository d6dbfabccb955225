//! A newcomer with the book alone: three hosts with systemd, installed from the
//! package by the words of the book, a license, the example application, a lost
//! node replaced, and an upgrade. What is typed is read from the pages.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use triad_tests::program::{repository, triad};
use triad_tests::wait;

use crate::docker::{BASE_IMAGE, Docker};
use crate::pages::{Block, page};
use crate::tools::{PACKAGERS, command, have, output, packages, run};

const LIMIT: Duration = Duration::from_secs(90);
/// How long a block may take: a command of the book may wait for a node.
const TYPED_LIMIT_S: &str = "90";
const NODES: [&str; 3] = ["lic-a", "lic-b", "lic-c"];
const DOMAIN: &str = "example.com";
/// What a page says of a copy goes through the folders that all hosts share here.
const SCP: &str = "#!/bin/bash\nset -e\nto=${!#}\ncp -r \"${@:2:$#-2}\" \"/hosts/${to%%.*}/\"\n";

/// The machines of a site.
struct Site {
    docker: Docker,
}

impl Site {
    /// The folder that is the home of root on a host.
    fn home(&self, host: &str) -> PathBuf {
        self.docker.folder().join("hosts").join(host)
    }

    /// A host with systemd, and nothing else.
    async fn add(&self, host: &str) {
        let home = self.home(host);
        std::fs::create_dir_all(&home).unwrap();
        let mut docker = self.docker.docker();
        docker.args(["run", "--detach", "--name", host, "--hostname", host, "--network", DOMAIN]);
        docker.args(["--network-alias", &format!("{host}.{DOMAIN}")]);
        // What systemd needs to shut its services in.
        docker.args([
            "--cap-add",
            "SYS_ADMIN",
            "--cap-add",
            "NET_ADMIN",
            "--cap-add",
            "SYS_PTRACE",
        ]);
        docker.args(["--security-opt", "seccomp=unconfined"]);
        docker.args(["--security-opt", "apparmor=unconfined"]);
        docker.args(["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro"]);
        docker.args(["--tmpfs", "/run", "--tmpfs", "/tmp"]);
        docker.arg("--volume").arg(format!("{}:/root", home.display()));
        docker.arg("--volume").arg(format!("{}:/hosts", home.parent().unwrap().display()));
        run(docker.args([BASE_IMAGE, "/sbin/init"]));
        let runs = async || self.type_on(host, "systemctl is-system-running");
        wait::until(&format!("{host} runs"), LIMIT, runs).await;
    }

    fn exec(&self, host: &str) -> Command {
        let mut docker = self.docker.docker();
        docker.args(["exec", "--workdir", "/root", host]);
        docker
    }

    /// Types this on a host, in the shell that was used there before.
    fn type_on(&self, host: &str, typed: &str) -> Result<String, String> {
        let again =
            "[ ! -e .variables ] || . ./.variables\nset -e\nexport DEBIAN_FRONTEND=noninteractive";
        let script = format!("{again}\n{typed}\nexport -p >.variables\n");
        output(self.exec(host).args(["timeout", TYPED_LIMIT_S, "bash", "-c", &script]))
    }

    async fn block(&self, host: &str, block: &Block) {
        if block.is("soon") {
            let typed = async || self.type_on(host, &block.text);
            wait::until(&format!("on {host}: {}", block.text), LIMIT, typed).await;
        } else {
            self.type_on(host, &block.text).unwrap_or_else(|error| {
                panic!("on {host}, line {}: {}{error}\n{}", block.line, block.text, self.journals())
            });
        }
    }

    /// For each node, with its name in the place of the first.
    async fn block_on_each(&self, block: &Block) {
        for node in NODES {
            let text = block.text.replace(NODES[0], node);
            self.block(node, &Block { text, ..block.clone() }).await;
        }
    }

    fn journals(&self) -> String {
        let journal = |node: &str| {
            let tail = ["journalctl", "--unit", "triad", "--no-pager", "--lines", "12"];
            output(self.exec(node).args(tail)).unwrap_or_else(|error| error)
        };
        NODES.map(journal).join("\n")
    }
}

fn blocks(path: &str, on: &[&str]) -> Vec<(String, Block)> {
    let blocks = page(path).blocks().into_iter().filter_map(|block| {
        let on = on.iter().find(|on| block.is(&format!("on={on}")))?;
        Some(((*on).to_owned(), block))
    });
    let blocks: Vec<_> = blocks.collect();
    assert!(!blocks.is_empty(), "{path} has no block on {on:?}");
    blocks
}

/// The example application of the book.
fn example_application() -> PathBuf {
    let profile = triad().parent().unwrap();
    let name = profile.file_name().unwrap().to_string_lossy().into_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(command(cargo)
        .args(["build", "--quiet", "--package", "triad-client", "--example", "hold", "--profile"])
        .arg(if name == "debug" { "dev" } else { &name })
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(repository()));
    profile.join("examples/hold")
}

/// P5: by the words of the book, a node is replaced and all three are upgraded,
/// and the application keeps its seat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_with_the_book_installs_replaces_and_upgrades() {
    if !have(&PACKAGERS) {
        return;
    }
    let Some(docker) = Docker::start().await else { return };
    let site = Site { docker };
    run(site.docker.docker().args(["network", "create", DOMAIN]));
    site.add("admin").await;
    for node in NODES {
        site.add(node).await;
    }
    let put = |file: &PathBuf, host: &str| {
        std::fs::copy(file, site.home(host).join(file.file_name().unwrap())).unwrap();
    };
    put(&packages().deb, "admin");
    site.type_on("admin", &format!("cat >/usr/bin/scp <<'END'\n{SCP}END\nchmod +x /usr/bin/scp"))
        .unwrap();

    // Install, and put a license in force. The publisher's part stands at the end
    // of the page, and is done when it is referred to.
    let guide = "docs/how-to/install-three-hosts.md";
    for (number, (on, block)) in blocks(guide, &["admin", "each"]).into_iter().enumerate() {
        if block.text.contains("license verify") {
            site.block("admin", &blocks(guide, &["licensor"])[0].1).await;
        }
        match on.as_str() {
            "admin" => site.block("admin", &block).await,
            _ => site.block_on_each(&block).await,
        }
        if number == 0 {
            site.block("admin", &blocks(guide, &["publisher"])[0].1).await;
        }
    }

    // The example application holds a seat from here to the end.
    put(&example_application(), "admin");
    let said = site.type_on("admin", "./hold solver 0").unwrap();
    assert!(said.contains(" is ours\n") && said.ends_with("done\n"), "{said}");
    site.type_on("admin", "nohup ./hold solver 3600 >held.log 2>&1 </dev/null &").unwrap();
    let held = async || {
        let list = site.type_on("admin", "triad checkouts -o json")?;
        let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
        match &list["checkouts"][0]["checkoutId"] {
            Value::String(id) if list["freshness"]["linearizable"] == true => Ok(id.clone()),
            _ => Err(list.to_string()),
        }
    };
    let seat = wait::until("the application holds its seat", LIMIT, held).await;

    // A machine is gone for good. Another gets its name.
    run(site.docker.docker().args(["rm", "--force", "lic-b"]));
    std::fs::remove_dir_all(site.home("lic-b")).unwrap();
    site.add("lic-b").await;
    for (on, block) in blocks("docs/how-to/replace-a-node.md", &["replace", "new"]) {
        site.block(if on == "new" { "lic-b" } else { "admin" }, &block).await;
    }
    assert_eq!(wait::until("the seat is held", LIMIT, held).await, seat);

    // A newer package, one host after the other.
    let newer = "dpkg-deb --raw-extract triad_*.deb newer && rm triad_*.deb
                 sed -i 's/^Version: .*/Version: 99-1/' newer/DEBIAN/control
                 dpkg-deb -Znone --build newer triad_99-1_amd64.deb";
    site.type_on("admin", newer).unwrap();
    let upgrade = blocks("docs/how-to/upgrade.md", &["upgrade", "look"]);
    for node in NODES {
        let carry =
            format!("rm -f /hosts/{node}/triad_*.deb && scp -r triad_*.deb {node}.{DOMAIN}:");
        site.type_on("admin", &carry).unwrap();
        for (on, block) in &upgrade {
            site.block(if on == "look" { "admin" } else { node }, block).await;
        }
        let state =
            "dpkg-query -W triad; systemctl is-active triad; systemctl show -P NRestarts triad";
        let state = site.type_on(node, state).unwrap();
        assert_eq!(state, "triad\t99-1\nactive\n0\n", "{node}");
    }
    assert_eq!(wait::until("the seat is held", LIMIT, held).await, seat);
    let log = std::fs::read_to_string(site.home("admin").join("held.log")).unwrap();
    assert!(!log.contains("lost") && !log.contains("done"), "{log}");
}
