//! A node as named on the command line: `a=lic-a.example.com:27070`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The port of clients where none is given.
pub const CLIENT_PORT_DEFAULT: u16 = 27070;

/// The port of pages and metrics is so far from that of clients where none is given.
const HTTP_PORT_AFTER: u16 = 10;

/// The longest name of a node: it is a directory and a label in metrics.
const NAME_BYTES_MAX: usize = 32;

/// The longest host name that DNS allows.
const HOST_BYTES_MAX: usize = 253;

/// One node of a cluster to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// The short name: lower-case letters, digits and `-`.
    pub name: String,
    /// The host by which clients and peers reach the node: a name or an IP
    /// address (IPv6 without brackets).
    pub host: String,
    /// The port of clients and administrators.
    pub client_port: u16,
    /// The port of peers.
    pub peer_port: u16,
    /// The port of pages and metrics.
    pub http_port: u16,
}

impl NodeSpec {
    /// Where clients reach the node, as `host:port`.
    pub fn client_address(&self) -> String {
        host_port(&self.host, self.client_port)
    }

    /// Where peers reach the node, as `host:port`.
    pub fn peer_address(&self) -> String {
        host_port(&self.host, self.peer_port)
    }

    /// Where browsers reach the node, as `host:port`.
    pub fn http_address(&self) -> String {
        host_port(&self.host, self.http_port)
    }

    /// The host to listen on. A node reached by loopback stays on loopback,
    /// so that a demonstration is not open to the network by accident.
    pub(crate) fn listen_host(&self) -> IpAddr {
        let ip = if self.host == "localhost" {
            Some(IpAddr::from([127, 0, 0, 1]))
        } else {
            self.host.parse::<IpAddr>().ok()
        };
        match ip {
            Some(ip) if ip.is_loopback() => ip,
            Some(IpAddr::V6(_)) => IpAddr::from([0_u16; 8]),
            _ => IpAddr::from([0; 4]),
        }
    }

    /// The address to listen on for clients.
    pub(crate) fn client_listen(&self) -> String {
        host_port(&self.listen_host().to_string(), self.client_port)
    }

    /// The address to listen on for peers.
    pub(crate) fn peer_listen(&self) -> String {
        host_port(&self.listen_host().to_string(), self.peer_port)
    }

    /// The address to listen on for browsers.
    pub(crate) fn http_listen(&self) -> String {
        host_port(&self.listen_host().to_string(), self.http_port)
    }
}

/// Reads `name=host`, `name=host:port`, `name=host:port/peerport` or
/// `name=host:port/peerport/httpport`. Without a port it is 27070; without a
/// peer port, the one after the client port; without a port of pages, the tenth
/// after it.
impl FromStr for NodeSpec {
    type Err = NodeSpecError;

    fn from_str(text: &str) -> Result<Self, NodeSpecError> {
        let error = |problem| NodeSpecError { spec: text.chars().take(300).collect(), problem };
        let (name, address) = text.split_once('=').ok_or_else(|| error(Problem::NoName))?;
        check_name(name).map_err(error)?;
        let mut parts = address.splitn(3, '/');
        let address = parts.next().unwrap_or_default();
        let mut port = || parts.next().map(parse_port).transpose().map_err(error);
        let (peer_port, http_port) = (port()?, port()?);
        let (host, client_port) = split_host(address).map_err(error)?;
        let client_port = match client_port {
            Some(port) => parse_port(port).map_err(error)?,
            None => CLIENT_PORT_DEFAULT,
        };
        check_host(host).map_err(error)?;
        let peer_port = match peer_port {
            Some(port) => port,
            None => client_port.checked_add(1).ok_or_else(|| error(Problem::NoPeerPort))?,
        };
        let http_port = http_port.unwrap_or_else(|| http_port_after(client_port));
        if peer_port == client_port || http_port == client_port || http_port == peer_port {
            let twice = if peer_port == client_port { peer_port } else { http_port };
            return Err(error(Problem::SamePort(twice)));
        }
        let (name, host) = (name.to_owned(), host.to_owned());
        Ok(Self { name, host, client_port, peer_port, http_port })
    }
}

impl fmt::Display for NodeSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}/{}", self.name, self.client_address(), self.peer_port)?;
        if self.http_port != http_port_after(self.client_port) {
            write!(formatter, "/{}", self.http_port)?;
        }
        Ok(())
    }
}

/// Why a text does not name a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {spec:?}: {problem}; write name=host:port, such as a=lic-a.example.com:27070")]
pub struct NodeSpecError {
    /// The text, shortened.
    pub spec: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with the text of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No `=`.
    #[error("the name is missing")]
    NoName,
    /// A name that cannot be a directory and a label everywhere.
    #[error(
        "the name {0:?} must be 1 to {NAME_BYTES_MAX} lower-case letters, digits or '-', \
         beginning with a letter"
    )]
    Name(String),
    /// A name with a meaning of its own.
    #[error("the name {0:?} is that of the directory of the certificate authority")]
    ReservedName(String),
    /// No host, or not one.
    #[error("{0:?} is neither a host name nor an IP address (IPv6 goes in brackets)")]
    Host(String),
    /// Not a port.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// The client port is the last one there is.
    #[error("there is no port after 65535 for the peers: give one, as in host:65535/27071")]
    NoPeerPort,
    /// Two ports are the same.
    #[error("clients, peers and pages cannot share port {0}")]
    SamePort(u16),
}

/// Before it, where there is none after it.
fn http_port_after(client_port: u16) -> u16 {
    client_port.checked_add(HTTP_PORT_AFTER).unwrap_or_else(|| client_port - HTTP_PORT_AFTER)
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_lowercase());
    match name {
        "ca" => Err(Problem::ReservedName(name.to_owned())),
        _ if good => Ok(()),
        _ => Err(Problem::Name(name.to_owned())),
    }
}

/// Splits `host:port`, `[v6]:port`, `host` and `[v6]`.
fn split_host(address: &str) -> Result<(&str, Option<&str>), Problem> {
    let malformed = || Problem::Host(address.to_owned());
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(malformed)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| malformed())?;
        return match rest {
            "" => Ok((host, None)),
            _ => Ok((host, Some(rest.strip_prefix(':').ok_or_else(malformed)?))),
        };
    }
    match address.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(malformed()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((address, None)),
    }
}

fn check_host(host: &str) -> Result<(), Problem> {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let good = host.parse::<IpAddr>().is_ok()
        || (!numeric && host.len() <= HOST_BYTES_MAX && host.split('.').all(label));
    if good { Ok(()) } else { Err(Problem::Host(host.to_owned())) }
}

fn parse_port(text: &str) -> Result<u16, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(Problem::Port(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        for (text, meaning) in [
            ("a=lic-a.example.com:27070", "a=lic-a.example.com:27070/27071"),
            ("a=lic-a", "a=lic-a:27070/27071"),
            ("node-1=10.0.0.1:9000/8000", "node-1=10.0.0.1:9000/8000"),
            ("a=[::1]:27070", "a=[::1]:27070/27071"),
            ("a=[2001:db8::1]", "a=[2001:db8::1]:27070/27071"),
            ("a=lic-a:27070/27071/27080", "a=lic-a:27070/27071"),
            ("a=lic-a:9000/9001/80", "a=lic-a:9000/9001/80"),
        ] {
            let spec: NodeSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), meaning);
            assert_eq!(spec.to_string().parse::<NodeSpec>().unwrap(), spec);
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let problem = |text: &str| text.parse::<NodeSpec>().unwrap_err().problem;
        let host = |host: &str| Problem::Host(host.to_owned());
        let port = |port: &str| Problem::Port(port.to_owned());
        assert_eq!(problem("lic-a:27070"), Problem::NoName);
        assert_eq!(problem("A=lic-a:27070"), Problem::Name("A".to_owned()));
        assert_eq!(problem("=lic-a:27070"), Problem::Name(String::new()));
        assert_eq!(problem("../x=lic-a:27070"), Problem::Name("../x".to_owned()));
        assert_eq!(problem("ca=lic-a:27070"), Problem::ReservedName("ca".to_owned()));
        assert_eq!(problem("a=:27070"), host(""));
        assert_eq!(problem("a=lic a:1"), host("lic a"));
        assert_eq!(problem("a=300.1.1.1:1"), host("300.1.1.1"));
        assert_eq!(problem("a=::1:27070"), host("::1:27070"));
        assert_eq!(problem("a=[lic-a]:27070"), host("[lic-a]:27070"));
        assert_eq!(problem("a=lic-a:0"), port("0"));
        assert_eq!(problem("a=lic-a:+1"), port("+1"));
        assert_eq!(problem("a=lic-a:70000"), port("70000"));
        assert_eq!(problem("a=lic-a:65535"), Problem::NoPeerPort);
        assert_eq!(problem("a=lic-a:9/9"), Problem::SamePort(9));
        assert_eq!(problem("a=lic-a:9/19"), Problem::SamePort(19));
        assert_eq!(problem("a=lic-a:9/8/0"), port("0"));
        assert_eq!(problem("a=lic-a:9/8/7/6"), port("7/6"));
    }

    #[test]
    fn a_node_on_loopback_listens_on_loopback_only() {
        let listen = |text: &str| text.parse::<NodeSpec>().unwrap().client_listen();
        assert_eq!(listen("a=127.0.0.1:9"), "127.0.0.1:9");
        assert_eq!(listen("a=localhost:9"), "127.0.0.1:9");
        assert_eq!(listen("a=[::1]:9"), "[::1]:9");
        assert_eq!(listen("a=[2001:db8::1]:9"), "[::]:9");
        assert_eq!(listen("a=lic-a:9"), "0.0.0.0:9");
        assert_eq!(listen("a=10.0.0.1:9"), "0.0.0.0:9");
    }
}
