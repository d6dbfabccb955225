//! One node: its files, its process, and what can be done to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, TcpNetwork, Traffic, channel_lazy,
};

use crate::program;
use crate::proxy::Proxy;

/// A node that is asked to stop hands leadership over first; it has this long
/// for all of it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node that must not start may take to say so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one administrative call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// What is shown of a node's log when a test fails.
const TAIL_LINES: usize = 40;

/// One of the three.
pub struct Node {
    /// Its number in the cluster, from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it listens for clients.
    pub address: String,
    /// Where clients are told that it listens: its proxy, or itself.
    pub public_address: String,
    /// Where its peers reach it.
    pub peer_address: String,
    /// Its directory: configuration, certificates, data.
    pub directory: PathBuf,
    /// What stands between it and its clients, if anything.
    pub proxy: Option<Proxy>,
    pub(crate) channel: Channel,
    /// What its program is started with: a program that becomes it.
    pub(crate) wrapper: Vec<String>,
    /// What is loaded into it before its own libraries.
    pub(crate) preload: Vec<PathBuf>,
    /// What it finds in its environment besides.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) process: Option<Child>,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// The exit code.
    ///
    /// # Panics
    ///
    /// If a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("it ended by itself: {self:?}"))
    }
}

impl Node {
    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.join("triad.toml")
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Changes the text of one of its files.
    ///
    /// # Panics
    ///
    /// If the file cannot be changed, or the change changes nothing.
    pub fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.directory.join(file);
        let before = fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{}: nothing was changed", path.display());
        fs::write(&path, after).unwrap();
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Whether its process runs, as far as we know.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The id of its process, while that runs.
    pub fn process_id(&mut self) -> Option<u32> {
        let process = self.process.as_mut()?;
        matches!(process.try_wait(), Ok(None)).then(|| process.id()).flatten()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.directory.join("log.txt")
    }

    /// Starts its process. Does not wait until it answers.
    ///
    /// # Panics
    ///
    /// If it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        self.process = Some(self.serve(log.into()).spawn().expect("triad can be started"));
    }

    /// Starts its process, which must stop by itself with an error.
    ///
    /// # Panics
    ///
    /// If it goes on running.
    pub async fn start_in_vain(&self) -> Ended {
        let running = self.serve(Stdio::piped()).output();
        let output = timeout(REFUSAL_TIMEOUT, running).await;
        let output = output.unwrap_or_else(|_| panic!("{} started after all", self.name));
        ended(output.expect("triad can be started"))
    }

    /// Starts its process, and waits until it listens, which is `None`, or has
    /// stopped by itself.
    ///
    /// # Panics
    ///
    /// If it does neither.
    pub async fn start_or_refuse(&mut self) -> Option<Ended> {
        let mut process = self.serve(Stdio::piped()).spawn().expect("triad can be started");
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        let listens = async {
            while let Some(line) = lines.next_line().await.expect("it is read") {
                said.push_str(&line);
                said.push('\n');
                if line.contains("listening") {
                    return true;
                }
            }
            false
        };
        let listens = timeout(REFUSAL_TIMEOUT, listens).await;
        if listens.unwrap_or_else(|_| panic!("{} does nothing", self.name)) {
            self.process = Some(process);
            let mut log =
                OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
            log.write_all(said.as_bytes()).unwrap();
            // Read on, or the node waits for us at its next line.
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = writeln!(log, "{line}");
                }
            });
            return None;
        }
        let status = process.wait().await.expect("our own child can be waited for");
        Some(Ended { status, stdout: String::new(), stderr: said })
    }

    fn serve(&self, stderr: Stdio) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => command(),
            Some((wrapper, arguments)) => {
                let mut command = clean_command(wrapper.as_ref());
                command.args(arguments).arg(program::triad());
                command
            }
        };
        if !self.preload.is_empty() {
            let preload: Vec<_> = self.preload.iter().map(|path| path.to_string_lossy()).collect();
            command.env("LD_PRELOAD", preload.join(":"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("serve").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub async fn kill9(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.kill().await.expect("our own child can be killed");
    }

    /// Asks it to stop, waits until it has, and says how.
    ///
    /// # Panics
    ///
    /// If it does not run, or does not stop in time.
    pub async fn sigterm(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.stopped().await
    }

    /// Waits until its process has ended by itself.
    ///
    /// # Panics
    ///
    /// If it does not run, or does not stop in time.
    pub async fn stopped(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the node runs");
        let stopped = timeout(STOP_TIMEOUT, process.wait()).await;
        let stopped = stopped.unwrap_or_else(|_| panic!("{} does not stop", self.name));
        stopped.expect("our own child can be waited for")
    }

    /// Stops its process in its tracks.
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to read its configuration again.
    pub fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        signal_child(self.process.as_ref().expect("the node runs"), signal);
    }

    /// Its proxy.
    ///
    /// # Panics
    ///
    /// If the cluster has none.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the cluster was started with proxies")
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        // What Raft says of peers that are down fills pages. Why a node stopped has no date.
        let is_told = |line: &&str| {
            line.contains(" triad") || !line.starts_with(|c: char| c.is_ascii_digit())
        };
        let lines: Vec<&str> = log.lines().filter(is_told).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// The program, with nothing of the environment that could change what it does,
/// killed when it is dropped.
pub fn command() -> Command {
    clean_command(program::triad())
}

fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIAD_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}

/// Runs a program to its end.
///
/// # Panics
///
/// If that takes longer than `limit`.
pub async fn run(mut command: Command, limit: Duration) -> Ended {
    let running = command.stdin(Stdio::null()).output();
    let output = timeout(limit, running).await;
    let output = output.unwrap_or_else(|_| panic!("not done within {limit:?}: {command:?}"));
    ended(output.unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// Some thousand connections are more than many systems give a process by itself. The nodes
/// inherit it.
///
/// # Panics
///
/// If the system refuses.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    raised.expect("what the system allows is allowed");
}

/// Sends a signal to a process of ours.
///
/// # Panics
///
/// If it has ended.
pub fn signal_child(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    kill_process(id.expect("the process runs"), signal).expect("our own child takes signals");
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A channel to `address`, which connects when it is first used.
pub(crate) fn channel(address: &str, tls: &ClientTls) -> Channel {
    let network = Arc::new(TcpNetwork::new());
    let parameters = ChannelParameters {
        host_port: address.to_owned(),
        connector: Connector::new(network, Some(tls.clone())),
        traffic: Traffic::Clients,
        call_timeout: Some(CALL_TIMEOUT),
    };
    channel_lazy(parameters).expect("a loopback address is well formed")
}

/// Flips the lowest bit of one byte of a file.
///
/// # Errors
///
/// What the system says.
pub fn flip_bit(path: &Path, offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 1], offset)
}
