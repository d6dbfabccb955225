//! A docker daemon of one test's own: in a network, a process space and folders of
//! its own, so that nothing of it touches the machine, and all of it ends with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use triad_tests::wait;

use crate::tools::{can, command, have, output, run, tools};
use triad_tests::skip;

const START_LIMIT: Duration = Duration::from_secs(60);
/// The image of a small Debian, made from what `tests/setup.sh` keeps.
pub const BASE_IMAGE: &str = "triad-tests-debian";

/// One at a time: two daemons and their nodes are more than two cores can bear.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A docker daemon. It ends when this is dropped, with all of its containers.
pub struct Docker {
    daemon: Child,
    folder: TempDir,
    _one: tokio::sync::MutexGuard<'static, ()>,
}

impl Docker {
    /// Starts one; `None` where it cannot be, which is said aloud.
    pub async fn start() -> Option<Docker> {
        let needed = ["dockerd", "docker", "docker-compose", "unshare", "setpriv"];
        if !can(&needed) || !have(&needed) {
            return None;
        }
        if !base().exists() {
            skip::skip("there is no small Debian, see tests/setup.sh");
            return None;
        }
        let one = ONE.lock().await;
        let folder = tempfile::Builder::new().prefix("triad-docker-").tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("daemon.log")).unwrap();
        // It ends when this test does, and everything that it started ends with it.
        let daemon = command("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"])
            .args(["--mount-proc", "--kill-child=KILL", "bash", "-euc"])
            .arg(
                "ip link set lo up
                 exec dockerd --data-root \"$1/data\" --exec-root \"$1/exec\" --pidfile \"$1/pid\" \
                     --host \"unix://$1/socket\" \
                     --bridge none --iptables=false --ip6tables=false --ip-masq=false",
            )
            .arg("bash")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Docker { daemon, folder, _one: one };
        let answers = async || output(docker.docker().args(["info", "--format", "{{.ID}}"]));
        wait::until("the docker daemon answers", START_LIMIT, answers).await;
        run(docker.docker().arg("import").arg(base()).arg(BASE_IMAGE));
        Some(docker)
    }

    /// Where this test may put files that containers see.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command `docker` for this daemon.
    pub fn docker(&self) -> Command {
        let mut docker = command("docker");
        docker.env("DOCKER_HOST", format!("unix://{}/socket", self.folder.path().display()));
        docker
    }

    /// The command `docker-compose` for this daemon, in a folder.
    pub fn compose(&self, folder: &Path) -> Command {
        let mut compose = command("docker-compose");
        compose.env("DOCKER_HOST", format!("unix://{}/socket", self.folder.path().display()));
        compose.env("TRIAD_BASE_IMAGE", BASE_IMAGE).current_dir(folder);
        compose
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("daemon.log"));
            let log = log.unwrap_or_default();
            let from = log.len().saturating_sub(2_000);
            eprintln!("the docker daemon: {}", log.get(from..).unwrap_or(&log));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn base() -> PathBuf {
    tools().join("debian.tar")
}
