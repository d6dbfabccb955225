//! Hosts on a network that lives only in this kernel: a namespace for each host,
//! a cable (veth) from each to one bridge, and the bridge in a namespace of its
//! own, where no firewall of the machine interferes.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::rules::Rules;
use super::tool::{run_line, run_with};

/// The beginning of every name of ours: `triad-lab-PROCESS-HOST`.
const PREFIX: &str = "triad-lab-";
/// Where `ip netns` keeps them.
const NAMES: &str = "/run/netns";

/// One end of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A node, by its place.
    Node(usize),
    /// This test, with all of its clients.
    Clients,
}

impl Host {
    /// All there are.
    pub const ALL: [Host; 4] = [Host::Node(0), Host::Node(1), Host::Node(2), Host::Clients];

    /// Its address; the same in each lab, since labs do not know of each other.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Host::Node(n) => Ipv4Addr::new(10, 77, 0, u8::try_from(n + 1).expect("three nodes")),
            Host::Clients => Ipv4Addr::new(10, 77, 0, 100),
        }
    }

    fn name(self) -> String {
        match self {
            Host::Node(n) => format!("node{}", n + 1),
            Host::Clients => "clients".into(),
        }
    }
}

/// The network of one lab. Dropped, it is gone, and this thread is back where it
/// came from.
pub struct Network {
    names: Names,
    rules: Rules,
    /// Where this thread was before.
    outside: File,
}

/// Namespaces by the names that `ip netns` knows; removed when this is dropped,
/// half made as well.
struct Names(String);

impl Names {
    fn of(&self, host: Host) -> String {
        format!("{}-{}", self.0, host.name())
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.0)
    }

    fn all(&self) -> Vec<String> {
        let hosts = Host::ALL.into_iter().map(|host| self.of(host));
        hosts.chain([self.hub()]).collect()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in self.all().into_iter().filter(|name| Path::new(NAMES).join(name).exists()) {
            remove(&name);
        }
    }
}

impl Network {
    /// Whether there is what it takes.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn probe() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        for tool in ["ip -V", "nsenter --version", "nft --version", "ss --version"] {
            run_line(tool)?;
        }
        Ok(())
    }

    /// Makes the hosts, connects them, and takes this thread to the clients'.
    /// Only for who has the turn: what other labs left is removed.
    ///
    /// # Errors
    ///
    /// Why this machine does not allow it.
    pub fn build() -> Result<Self, String> {
        sweep();
        let names = Names(format!("{PREFIX}{}", std::process::id()));
        for name in names.all() {
            run_line(&format!("ip netns add {name}"))?;
        }
        let hub = names.hub();
        run_line(&format!("ip -n {hub} link add bridge type bridge"))?;
        run_line(&format!("ip -n {hub} link set bridge up"))?;
        for host in Host::ALL {
            connect(&hub, &names.of(host), host)?;
        }
        let outside = File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
        let network = Network { names, rules: Rules::default(), outside };
        network.put_in_force()?;
        network.enter(Host::Clients).map_err(|error| format!("setns: {error}"))?;
        Ok(network)
    }

    /// The nodes' addresses.
    pub fn node_addresses(&self) -> Vec<String> {
        (0..3).map(|n| Host::Node(n).address().to_string()).collect()
    }

    /// What a program is started with to run on the nodes' hosts. It becomes the
    /// program, so that the process started is the program's own. (`ip netns
    /// exec` would keep the mounts of its day busy.)
    pub fn node_wrappers(&self) -> Vec<Vec<String>> {
        let wrapper = |n| {
            let path = path_of(&self.names.of(Host::Node(n)));
            vec!["nsenter".to_owned(), format!("--net={}", path.display())]
        };
        (0..3).map(wrapper).collect()
    }

    /// Changes what becomes of packets, all at once.
    pub fn change(&mut self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules);
        self.put_in_force().expect("nft takes what it took before");
    }

    /// Whether the host's cable is in.
    pub fn plug(&self, host: Host, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        let line = format!("ip -n {} link set {} {state}", self.names.hub(), host.name());
        run_line(&line).expect("the cable is there");
    }

    /// Resets every connection of a host, from its side.
    pub fn reset_connections(&self, host: Host) {
        let path = path_of(&self.names.of(host));
        // It complains of sockets that listen, and has then done the others.
        let _ = run_line(&format!("nsenter --net={} ss -K -t state established", path.display()));
    }

    /// Where the kernel keeps a host's namespace.
    pub fn namespace(&self, host: Host) -> PathBuf {
        path_of(&self.names.of(host))
    }

    /// Leads the traffic between all hosts over a device that stands in each of
    /// their namespaces, past the bridge and its rules.
    ///
    /// # Errors
    ///
    /// If there is no such device.
    pub fn lead_over(&self, device: &str) -> Result<(), String> {
        for host in Host::ALL {
            let (name, own) = (self.names.of(host), host.address());
            run_line(&format!("ip -n {name} link set {device} up"))?;
            for other in Host::ALL.into_iter().filter(|other| *other != host) {
                let to = other.address();
                run_line(&format!("ip -n {name} route add {to}/32 dev {device} src {own}"))?;
            }
        }
        Ok(())
    }

    fn put_in_force(&self) -> Result<(), String> {
        let hub = format!("--net={}", path_of(&self.names.hub()).display());
        run_with("nsenter", &[hub.as_str(), "nft", "-f", "-"], &self.rules.to_nft()).map(drop)
    }

    fn enter(&self, host: Host) -> std::io::Result<()> {
        move_to(&File::open(path_of(&self.names.of(host)))?)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The thread may run other tests.
        if let Err(error) = move_to(&self.outside) {
            eprintln!("this thread is lost in a network namespace: {error}");
        }
    }
}

fn move_to(namespace: &File) -> std::io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
}

fn path_of(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}

/// One host's cable, its address, and its loopback.
fn connect(hub: &str, namespace: &str, host: Host) -> Result<(), String> {
    let (port, address) = (host.name(), host.address());
    for line in [
        format!("ip -n {hub} link add {port} type veth peer name eth0 netns {namespace}"),
        format!("ip -n {hub} link set {port} master bridge"),
        format!("ip -n {hub} link set {port} up"),
        format!("ip -n {namespace} address add {address}/24 dev eth0"),
        format!("ip -n {namespace} link set eth0 up"),
        format!("ip -n {namespace} link set lo up"),
    ] {
        run_line(&line)?;
    }
    Ok(())
}

/// Removes what killed tests left behind: their namespaces, and the nodes that
/// still run there.
fn sweep() {
    for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            remove(&name);
        }
    }
}

/// A namespace's processes end with it: they are nodes and commands of the test
/// that made it, and nobody else knows its name.
fn remove(name: &str) {
    let processes = run_line(&format!("ip netns pids {name}")).unwrap_or_default();
    for process in processes.split_whitespace() {
        // This thread may still stand in it.
        if process != std::process::id().to_string() {
            let _ = run_line(&format!("kill -KILL {process}"));
        }
    }
    if let Err(error) = run_line(&format!("ip netns delete {name}")) {
        eprintln!("{name} is left behind: {error}");
    }
}
