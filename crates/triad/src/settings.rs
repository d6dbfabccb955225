//! The global options as meant: what they come to once files are read.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use triad_proto::net::ClientTls;

use crate::args::{GlobalOptions, TlsOption};
use crate::failure::Failure;
use crate::output::Output;
use crate::servers;

/// The variable that holds the token itself. It is no option: command lines
/// are seen by everybody on the machine.
const TOKEN_VARIABLE: &str = "TRIAD_TOKEN";

/// A node answers in milliseconds; an election takes less than a second.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The global options, with the files they name read when a verb asks.
#[derive(Clone, Debug)]
pub struct Settings {
    options: GlobalOptions,
    /// How to print.
    pub output: Output,
}

impl Settings {
    /// Nothing is read yet: verbs that ask no server need none of it.
    pub fn new(options: GlobalOptions) -> Self {
        let output = Output::new(options.output, options.color);
        Settings { options, output }
    }

    /// The same, asking other servers.
    pub fn with_servers(mut self, servers: &str) -> Self {
        self.options.servers = Some(servers.to_owned());
        self
    }

    /// The same, with another patience.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// How long to wait for answers.
    pub fn timeout(&self) -> Duration {
        self.timeout_or(TIMEOUT_DEFAULT)
    }

    /// The same, where the usual time would not do.
    pub fn timeout_or(&self, usual: Duration) -> Duration {
        self.options.timeout.unwrap_or(usual)
    }

    /// Whether there is anybody to ask.
    pub fn names_servers(&self) -> bool {
        self.options.servers.as_deref().is_some_and(|servers| !servers.trim().is_empty())
    }

    /// Whether connections are encrypted.
    pub fn encrypted(&self) -> bool {
        self.options.tls == TlsOption::On
    }

    /// The servers of the cluster, as `host:port`.
    pub fn servers(&self) -> Result<Vec<String>, Failure> {
        match self.options.servers.as_deref().map(str::trim) {
            None | Some("") => Err(Failure::Usage {
                what: "no servers are named".to_owned(),
                remedy: "give --servers lic-a:27070,lic-b:27070,lic-c:27070, or set TRIAD_SERVERS"
                    .to_owned(),
            }),
            Some(text) => Ok(servers::parse(text)?),
        }
    }

    /// The authority's certificate. `None`: plain text.
    pub fn authority_pem(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self.authority()? {
            Some(path) => Ok(Some(checked_authority(path)?.0)),
            None => Ok(None),
        }
    }

    /// TLS as the options say. `None`: plain text.
    pub fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        match self.authority()? {
            Some(path) => Ok(Some(checked_authority(path)?.1)),
            None => Ok(None),
        }
    }

    fn authority(&self) -> Result<Option<&Path>, Failure> {
        match (given(self.options.ca.as_ref()), self.encrypted()) {
            (_, false) => Ok(None),
            (Some(path), true) => Ok(Some(path)),
            (None, true) => Err(Failure::Usage {
                what: "the cluster's authority is not known, so no server can be trusted"
                    .to_owned(),
                remedy: "give --ca cluster/ca/ca.pem, or set TRIAD_CA".to_owned(),
            }),
        }
    }

    /// The value of the `authorization` metadata, if there is a token.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let (token, place) = match given(self.options.token_file.as_ref()) {
            Some(path) => {
                let bytes = read(path)?;
                (String::from_utf8_lossy(&bytes).into_owned(), path.display().to_string())
            }
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(token) if !token.is_empty() => (token, TOKEN_VARIABLE.to_owned()),
                _ => return Ok(None),
            },
        };
        authorization(&token).map(Some).ok_or_else(|| Failure::Usage {
            what: format!("{place} does not hold a token"),
            remedy: "give the admin.token that `triad init` wrote".to_owned(),
        })
    }
}

/// An authority's certificate that TLS accepts, and that TLS.
fn checked_authority(path: &Path) -> Result<(Vec<u8>, ClientTls), Failure> {
    let pem = read(path)?;
    match ClientTls::new(&pem, None) {
        Ok(tls) => Ok((pem, tls)),
        Err(source) => Err(Failure::Authority { path: path.to_owned(), source }),
    }
}

/// The file that an option names. An empty variable is as good as none.
fn given(file: Option<&OsString>) -> Option<&Path> {
    file.filter(|file| !file.is_empty()).map(Path::new)
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

/// Reads a file of text whole.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

fn authorization(token: &str) -> Option<MetadataValue<Ascii>> {
    let token = token.trim();
    let one_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
    // Kept out of logs and out of HTTP/2's table of headers.
    value.set_sensitive(true);
    one_word.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(authorization("tat_abc\n").unwrap().to_str().unwrap(), "Bearer tat_abc");
        for text in ["", " \n", "two words", "a\nb", "ü"] {
            assert!(authorization(text).is_none(), "{text:?}");
        }
    }
}
