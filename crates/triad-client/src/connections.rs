//! Connections that outlast a search for the leader.
//!
//! A node that does not lead now may lead in a moment, and a handshake that is
//! under way is half done: the next search goes on with both. What every search
//! began anew would cost most when everybody searches at once.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::watch;
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelParameters, Connection, Connector, LatestConnection, Listener, Network, SharedNetwork,
    Traffic, channel,
};
use triad_proto::v1::{Reason, Refusal};

use crate::route::{Dialer, Failed};

/// How long a connection may take, TLS included: as long as a node gives a
/// handshake, and a little more. A node to which everybody comes at once needs
/// it, and who gives up and comes again makes it worse.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);

/// A connection that stands.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) channel: Channel,
    latest: LatestConnection,
}

impl Connected {
    fn is_open(&self) -> bool {
        self.latest.closed().is_none_or(|closed| !closed.is_closed())
    }
}

/// A connection that stands or is under way.
#[derive(Clone)]
pub(crate) struct Connecting {
    pub(crate) connected: Shared<BoxFuture<'static, Result<Connected, Failed>>>,
    /// The node's host has answered; TLS may take longer.
    pub(crate) reached: watch::Receiver<bool>,
}

impl Connecting {
    fn is_usable(&self) -> bool {
        match self.connected.peek() {
            None => true,
            Some(Ok(connected)) => connected.is_open(),
            Some(Err(_)) => false,
        }
    }
}

/// A set of connections that several clients of one process use together
/// instead of one each: [`crate::ClientBuilder::connections`]. A node takes at
/// most 64 sessions on one connection; those beyond wait in vain. Clones are the
/// same set.
#[derive(Clone, Default)]
pub struct SharedConnections(Arc<Mutex<BTreeMap<String, Connecting>>>);

/// The connections of one client, by address.
pub(crate) struct Connections {
    set: SharedConnections,
    /// Others use them, too.
    is_shared: bool,
}

impl Connections {
    /// Those of one client alone, or of the clients that share the set.
    pub(crate) fn new(shared: Option<SharedConnections>) -> Self {
        Connections { is_shared: shared.is_some(), set: shared.unwrap_or_default() }
    }

    /// The same connections once more.
    pub(crate) fn again(&self) -> Self {
        Connections { set: self.set.clone(), is_shared: self.is_shared }
    }

    /// The connection to a node; a new one, if there is none that can be used.
    pub(crate) fn to(&self, dialer: &Dialer, address: &str) -> Connecting {
        let mut all = self.all();
        if let Some(kept) = all.get(address).filter(|kept| kept.is_usable()) {
            return kept.clone();
        }
        let connecting = connect(dialer, address.to_owned());
        all.insert(address.to_owned(), connecting.clone());
        connecting
    }

    /// A connection on which nothing came back is not used again.
    pub(crate) fn forget(&self, address: &str) {
        self.all().remove(address);
    }

    /// The search is over: whatever is not in use is closed, unless others may
    /// need it.
    pub(crate) fn clear(&self) {
        if !self.is_shared {
            self.all().clear();
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Connecting>> {
        self.set.0.lock().expect("no panic while held")
    }
}

fn connect(dialer: &Dialer, address: String) -> Connecting {
    let (reach, reached) = watch::channel(false);
    let network = Arc::new(Noticing { network: dialer.network.clone(), reach });
    let connector =
        Connector::new(network, dialer.tls.clone()).with_connect_timeout(CONNECT_TIMEOUT);
    let latest = connector.latest();
    let parameters = ChannelParameters {
        host_port: address.clone(),
        connector,
        traffic: Traffic::Clients,
        call_timeout: None,
    };
    let connected = async move {
        let channel = channel(parameters).await.map_err(|error| {
            let dead = error.io_kind() == Some(io::ErrorKind::ConnectionRefused);
            let message = format!("{address}: {error}");
            let refusal = Refusal::because(Reason::NodeUnreachable, message);
            Failed { dead, ..Failed::because(refusal) }
        })?;
        Ok(Connected { channel, latest })
    };
    Connecting { connected: connected.boxed().shared(), reached }
}

/// A network that tells when a host has answered.
struct Noticing {
    network: SharedNetwork,
    reach: watch::Sender<bool>,
}

impl Network for Noticing {
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let connection = self.network.connect(host_port).await?;
            self.reach.send_replace(true);
            Ok(connection)
        }
        .boxed()
    }

    fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.network.bind(host_port)
    }
}
