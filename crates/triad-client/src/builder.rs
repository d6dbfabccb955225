//! Setting a client up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use triad_proto::machine;
use triad_proto::net::{ClientTls, SharedNetwork, TcpNetwork};
use triad_proto::v1;

use crate::client::Client;
use crate::connections::SharedConnections;
use crate::error::Error;
use crate::lease::State;
use crate::route::Dialer;
use crate::servers::parse_servers;
use crate::witness::Witness;

/// How long a checkout looks for somebody to answer it.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is longer has no end that every clock can show.
const CHECKOUT_TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

pub(crate) type StateCallback = Box<dyn Fn(&State) + Send + Sync>;

/// Collects what a [`Client`] needs. What is not set is taken from the
/// environment: `TRIAD_SERVERS`, `TRIAD_CA`, the user, the host.
#[must_use]
pub struct ClientBuilder {
    servers: Option<String>,
    ca: Option<Ca>,
    network: Option<SharedNetwork>,
    holder: v1::Holder,
    lease: Duration,
    checkout_timeout: Duration,
    on_state: Option<StateCallback>,
    witness: Option<Arc<dyn Witness>>,
    connections: Option<SharedConnections>,
    seed: Option<u64>,
}

enum Ca {
    File(PathBuf),
    Pem(Vec<u8>),
    Plaintext,
}

/// Everything that a session needs to know.
pub(crate) struct Settings {
    pub(crate) servers: Vec<String>,
    pub(crate) dialer: Dialer,
    pub(crate) holder: v1::Holder,
    pub(crate) lease: Duration,
    pub(crate) checkout_timeout: Duration,
    pub(crate) on_state: Option<StateCallback>,
    pub(crate) witness: Option<Arc<dyn Witness>>,
    pub(crate) connections: Option<SharedConnections>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let holder = v1::Holder {
            user: machine::user_name(),
            host: machine::host_name(),
            display: variable("DISPLAY"),
            project: variable("TRIAD_PROJECT"),
            application: program_name(),
            pid: std::process::id(),
            hostids: machine::hostids(),
            ..v1::Holder::default()
        };
        ClientBuilder {
            servers: None,
            ca: None,
            network: None,
            holder,
            lease: Duration::ZERO,
            checkout_timeout: CHECKOUT_TIMEOUT,
            on_state: None,
            witness: None,
            connections: None,
            seed: None,
        }
    }

    /// The nodes of the cluster: `lic-a`, `host:port` or `port@host`, separated by
    /// commas, in any order. Without a port it is 27070.
    pub fn servers(mut self, servers: impl Into<String>) -> Self {
        self.servers = Some(servers.into());
        self
    }

    /// The file with the certificate of the cluster's authority.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Ca::File(path.into()));
        self
    }

    /// The certificate of the cluster's authority, PEM.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Ca::Pem(pem.into()));
        self
    }

    /// No TLS: for nodes that run without it, on loopback.
    pub fn plaintext(mut self) -> Self {
        self.ca = Some(Ca::Plaintext);
        self
    }

    /// Connections that this client shares with others of this process, for
    /// programs that hold seats for many users. By default it has its own, and
    /// with it a sign of its death that does not wait for the others'.
    pub fn connections(mut self, shared: &SharedConnections) -> Self {
        self.connections = Some(shared.clone());
        self
    }

    /// Another network than the machine's, for simulations.
    pub fn network(mut self, network: SharedNetwork) -> Self {
        self.network = Some(network);
        self
    }

    /// A seed for session ids and pauses, for simulations. Whoever knows it
    /// knows the session ids.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The application's name, as administrators see it.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.holder.application = name.into();
        self
    }

    /// The user, if not the one who runs the process.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.holder.user = name.into();
        self
    }

    /// The host, if not this machine's name.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.holder.host = name.into();
        self
    }

    /// The host ids of this machine, `TYPE:value`, if not those that it says by
    /// itself; at most 16.
    pub fn hostids(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.holder.hostids = ids.into_iter().collect();
        self
    }

    /// The display or terminal, if not that of the environment.
    pub fn display(mut self, name: impl Into<String>) -> Self {
        self.holder.display = name.into();
        self
    }

    /// The application's own word for who shares a seat, where a license is
    /// shared by vendor data.
    pub fn vendor_data(mut self, data: impl Into<String>) -> Self {
        self.holder.vendor_data = data.into();
        self
    }

    /// The process id, if not this process's.
    pub fn pid(mut self, pid: u32) -> Self {
        self.holder.pid = pid;
        self
    }

    /// The project to account to.
    pub fn project(mut self, name: impl Into<String>) -> Self {
        self.holder.project = name.into();
        self
    }

    /// The lease to ask for: how long seats are kept without a heartbeat. The
    /// server may give another; by default it decides.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a checkout looks for somebody to answer it; 10 s by default, a year
    /// at most.
    pub fn checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout.min(CHECKOUT_TIMEOUT_MAX);
        self
    }

    /// Called at every change of state, by the session's task; it must not
    /// block.
    pub fn on_state(mut self, callback: impl Fn(&State) + Send + Sync + 'static) -> Self {
        self.on_state = Some(Box::new(callback));
        self
    }

    /// Watches everything that the client says and hears, for audits and tests.
    pub fn witness(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// The client. Nothing is dialled before the first checkout. Call it inside
    /// a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: no servers, no certificate authority, or unreadable
    /// ones; or no tokio runtime.
    pub fn build(self) -> Result<Client, Error> {
        let servers = self.servers.or_else(|| std::env::var("TRIAD_SERVERS").ok());
        let servers = parse_servers(&servers.unwrap_or_default())?;
        let ca = self.ca.or_else(|| std::env::var_os("TRIAD_CA").map(|path| Ca::File(path.into())));
        let network = self.network.unwrap_or_else(|| Arc::new(TcpNetwork::new()));
        let settings = Settings {
            servers,
            dialer: Dialer { network, tls: tls(ca)? },
            holder: self.holder,
            lease: self.lease,
            checkout_timeout: self.checkout_timeout,
            on_state: self.on_state,
            witness: self.witness,
            connections: self.connections,
        };
        let random = random(self.seed)?;
        if Handle::try_current().is_err() {
            let message = "no tokio runtime to send heartbeats in: call build() in an async \
                           function of one, or after `let _inside = runtime.enter()`";
            return Err(Error::Setup(message.into()));
        }
        Ok(Client::start(settings, random))
    }
}

fn random(seed: Option<u64>) -> Result<StdRng, Error> {
    if let Some(seed) = seed {
        return Ok(StdRng::seed_from_u64(seed));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Setup(format!("the system gives no randomness: {error}")))?;
    Ok(StdRng::from_seed(seed))
}

fn tls(ca: Option<Ca>) -> Result<Option<ClientTls>, Error> {
    let pem = match ca {
        Some(Ca::Plaintext) => return Ok(None),
        Some(Ca::Pem(pem)) => pem,
        Some(Ca::File(path)) => std::fs::read(&path)
            .map_err(|error| Error::Setup(format!("{}: {error}", path.display())))?,
        None => {
            let message = "no certificate authority given: set TRIAD_CA to the cluster's ca.pem, \
                           or call .ca_file(path)";
            return Err(Error::Setup(message.into()));
        }
    };
    let tls = ClientTls::new(&pem, None).map_err(|error| Error::Setup(error.to_string()))?;
    Ok(Some(tls))
}

fn program_name() -> String {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(|path| path.file_name());
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_client_without_a_runtime_is_refused_with_what_to_do() {
        let built = Client::builder().servers("lic-a:27070").plaintext().build();
        let error = built.err().expect("nothing runs its task");
        assert!(matches!(error, Error::Setup(_)), "{error:?}");
        assert!(error.to_string().contains("runtime.enter()"), "{error}");
    }

    #[test]
    fn what_is_asked_need_not_be_awaited_in_a_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        // Nobody listens there.
        let build = || {
            let _entered = runtime.enter();
            Client::builder().servers("127.0.0.1:1").plaintext().build().expect("a client")
        };
        let (asked, closed) = (build(), build());
        let mut returning = Box::pin(asked.return_borrowed(7));
        assert!(returning.as_mut().now_or_never().is_none(), "nobody answers");
        drop(returning);
        futures::executor::block_on(closed.close());
    }
}
