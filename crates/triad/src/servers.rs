//! The string that names a cluster's servers: `host:port` or `port@host`,
//! separated by commas.

use triad_server::node_spec::CLIENT_PORT_DEFAULT;

/// A cluster has at most five nodes; there is room for each under a few names.
const SERVERS_MAX: usize = 16;
/// The longest host name that DNS allows.
const HOST_BYTES_MAX: usize = 253;

/// Reads the servers of one cluster, as `host:port` each, in the order given
/// and each once. Without a port it is 27070.
pub fn parse(text: &str) -> Result<Vec<String>, ServersError> {
    let text = text.trim();
    if text.contains(';') {
        return Err(ServersError::SecondCluster);
    }
    let mut servers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let server = server(part).ok_or_else(|| ServersError::Server(shortened(part)))?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    if servers.len() > SERVERS_MAX {
        return Err(ServersError::TooMany(servers.len()));
    }
    Ok(servers)
}

/// Why a text does not name servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// One of the servers cannot be read.
    #[error("{0:?} is not a server; write host:port or port@host, such as lic-a:27070")]
    Server(String),
    /// More than one cluster.
    #[error("';' begins a second cluster, and this command asks one; name the servers of one")]
    SecondCluster,
    /// More servers than a cluster has.
    #[error("{0} servers are named, at most {SERVERS_MAX} are allowed; name those of one cluster")]
    TooMany(usize),
}

fn server(text: &str) -> Option<String> {
    let (host, port) = match text.split_once('@') {
        Some((port, host)) => (unbracketed(host), Some(port).filter(|port| !port.is_empty())),
        None => host_and_port(text)?,
    };
    let port = match port {
        Some(port) => parse_port(port)?,
        None => CLIENT_PORT_DEFAULT,
    };
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(format!("[{host}]:{port}"));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(good);
    is_name.then(|| format!("{host}:{port}"))
}

fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        // A bare IPv6 address has no port: which colon would begin it?
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_understood() {
        let table: [(&str, &[&str]); 8] = [
            ("lic-a:27070", &["lic-a:27070"]),
            ("27070@lic-a", &["lic-a:27070"]),
            ("lic-a", &["lic-a:27070"]),
            ("@lic-a", &["lic-a:27070"]),
            ("a:1, 2@b ,c", &["a:1", "b:2", "c:27070"]),
            ("a:1,1@a", &["a:1"]),
            (
                "[2001:db8::1]:9,9@2001:db8::2,::1",
                &["[2001:db8::1]:9", "[2001:db8::2]:9", "[::1]:27070"],
            ),
            ("9@[2001:db8::3]", &["[2001:db8::3]:9"]),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_quoted() {
        for text in ["", ",", "a,", "a:0", "a:65536", "a:+1", "a b:1", "1@", "http://a:1", "[a:1"] {
            assert!(matches!(parse(text), Err(ServersError::Server(_))), "{text:?}");
        }
        assert_eq!(parse("a:1;b:1"), Err(ServersError::SecondCluster));
        let many: Vec<_> = (1..=17).map(|n| format!("a:{n}")).collect();
        assert_eq!(parse(&many.join(",")), Err(ServersError::TooMany(17)));
    }
}
