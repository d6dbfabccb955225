//! The servers of a cluster, as people write them.

/// The most servers in one list.
const SERVERS_MAX: usize = 16;

/// A list of servers that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// Nothing in it.
    #[error("no servers given: set TRIAD_SERVERS or call .servers(\"a:27070,b:27070,c:27070\")")]
    Empty,
    /// More than make sense.
    #[error("{0} servers given, at most {SERVERS_MAX} are allowed")]
    TooMany(usize),
    /// Not an address.
    #[error("{0:?} is not a server: write host:port or port@host, separated by commas")]
    NotAnAddress(String),
}

/// Reads `host:port` or `port@host`, separated by commas. The order does not
/// matter: any node may lead.
///
/// # Errors
///
/// See [`ServersError`].
pub fn parse_servers(text: &str) -> Result<Vec<String>, ServersError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let servers: Vec<String> = parts.map(address).collect::<Result<_, _>>()?;
    match servers.len() {
        0 => Err(ServersError::Empty),
        count if count > SERVERS_MAX => Err(ServersError::TooMany(count)),
        _ => Ok(servers),
    }
}

fn address(text: &str) -> Result<String, ServersError> {
    let wrong = || ServersError::NotAnAddress(text.chars().take(100).collect());
    let (host, port) = match text.split_once('@') {
        Some((port, host)) => (host, port),
        None => text.rsplit_once(':').ok_or_else(wrong)?,
    };
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 || !host.chars().all(plain) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_understood() {
        let servers = parse_servers(" lic-a:27070, 27070@lic-b ,[::1]:27070,").expect("good");
        assert_eq!(servers, ["lic-a:27070", "lic-b:27070", "[::1]:27070"]);
    }

    #[test]
    fn what_is_no_server_is_named() {
        assert_eq!(parse_servers(" , "), Err(ServersError::Empty));
        for text in ["lic-a", "lic-a:", ":1", "lic-a:0", "lic-a:70000", "a b:1", "x@a", "a/b:1"] {
            assert_eq!(parse_servers(text), Err(ServersError::NotAnAddress(text.into())), "{text}");
        }
        assert_eq!(parse_servers(&["a:1"; 17].join(",")), Err(ServersError::TooMany(17)));
    }
}
