//! The servers of a cluster, as people write them: `lic-a`, `host:port` or
//! `port@host`, separated by commas.

/// Where nodes listen for clients unless they are told otherwise.
const PORT_DEFAULT: u16 = 27070;
/// A cluster has at most five nodes; there is room for each under a few names.
const SERVERS_MAX: usize = 16;
/// The longest host name that DNS allows.
const HOST_BYTES_MAX: usize = 253;
/// Of what cannot be read so many characters are shown.
const SHOWN_CHARS_MAX: usize = 80;

/// A list of servers that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// Nothing in it.
    #[error(
        "no servers are named; set TRIAD_SERVERS to those of one cluster, such as lic-a,lic-b,lic-c"
    )]
    Empty,
    /// One of the servers cannot be read.
    #[error("{0:?} is not a server; write host:port or port@host, such as lic-a:27070")]
    Server(String),
    /// More than one cluster.
    #[error("';' begins a second cluster, and only one is asked; name the servers of one")]
    SecondCluster,
    /// More servers than a cluster has.
    #[error("{0} servers are named, at most {SERVERS_MAX} are allowed; name those of one cluster")]
    TooMany(usize),
}

/// Reads the servers of one cluster, as `host:port` each, in the order given
/// and each once. Without a port it is 27070. The order does not matter: any
/// node may lead.
///
/// # Errors
///
/// See [`ServersError`].
pub fn parse_servers(text: &str) -> Result<Vec<String>, ServersError> {
    if text.contains(';') {
        return Err(ServersError::SecondCluster);
    }
    let mut servers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let shown = || part.chars().take(SHOWN_CHARS_MAX).collect();
        let server = server(part).ok_or_else(|| ServersError::Server(shown()))?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    match servers.len() {
        0 => Err(ServersError::Empty),
        count if count > SERVERS_MAX => Err(ServersError::TooMany(count)),
        _ => Ok(servers),
    }
}

fn server(text: &str) -> Option<String> {
    let (host, port) = match text.split_once('@') {
        Some((port, host)) => (unbracketed(host), Some(port).filter(|port| !port.is_empty())),
        None => host_and_port(text)?,
    };
    let port = match port {
        Some(port) => parse_port(port)?,
        None => PORT_DEFAULT,
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
            ("a:1,1@a,", &["a:1"]),
            (
                "[2001:db8::1]:9,9@2001:db8::2,::1",
                &["[2001:db8::1]:9", "[2001:db8::2]:9", "[::1]:27070"],
            ),
            ("9@[2001:db8::3]", &["[2001:db8::3]:9"]),
        ];
        for (text, expected) in table {
            assert_eq!(parse_servers(text).expect("good"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_quoted() {
        for text in ["", " , "] {
            assert_eq!(parse_servers(text), Err(ServersError::Empty), "{text:?}");
        }
        for text in [
            "lic-a:",
            "x@a",
            "a/b:1",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "1@",
            "http://a:1",
            "[a:1",
        ] {
            assert!(matches!(parse_servers(text), Err(ServersError::Server(_))), "{text:?}");
        }
        assert_eq!(parse_servers("a:1;b:1"), Err(ServersError::SecondCluster));
        let many: Vec<_> = (1..=17).map(|n| format!("a:{n}")).collect();
        assert_eq!(parse_servers(&many.join(",")), Err(ServersError::TooMany(17)));
    }
}
