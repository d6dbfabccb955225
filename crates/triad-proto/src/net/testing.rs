//! What the tests of this module share: certificate authorities, and a
//! listener without sockets.

use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::{ClientCertificates, ClientTls, Connection, Identity, Listener, ServerTls};
use crate::identity::{ClusterId, NODE_SERVER_NAME, NodeIdentity, node_server_name};

/// 2026-11-23, in seconds since 1970: inside the certificates' dates.
pub(crate) const UNIX_NOW: u64 = 1_795_392_000;

/// The cluster that test certificates name.
pub(crate) fn cluster_id() -> ClusterId {
    ClusterId::of_public_key_digest(&[7; 32])
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) ca_pem: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        Self { ca_pem: issuer.pem(), issuer }
    }

    /// A valid certificate of node `node_id`.
    pub(crate) fn node(&self, node_id: u64) -> Issued {
        self.issue(node_parameters(node_id))
    }

    /// A certificate of node `node_id` that ended in 2020.
    pub(crate) fn expired_node(&self, node_id: u64) -> Issued {
        let mut parameters = node_parameters(node_id);
        parameters.not_after = date_time_ymd(2020, 1, 1);
        self.issue(parameters)
    }

    /// A certificate of someone who is no node.
    pub(crate) fn application(&self, common_name: &str) -> Issued {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        self.issue(parameters)
    }

    fn issue(&self, parameters: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    pub(crate) fn server_tls(&self, node_id: u64) -> ServerTls {
        let clients = ClientCertificates::Optional(self.ca_pem.clone().into_bytes());
        ServerTls::new(&self.node(node_id).identity(), &clients).unwrap()
    }

    pub(crate) fn client_tls(&self, own: Option<Issued>) -> ClientTls {
        let identity = own.map(|own| own.identity());
        ClientTls::new(self.ca_pem.as_bytes(), identity.as_ref()).unwrap()
    }
}

impl Issued {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(self.certificate_pem.as_bytes(), self.key_pem.as_bytes()).unwrap()
    }
}

fn node_parameters(node_id: u64) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.not_before = date_time_ymd(2019, 1, 1);
    let uri = NodeIdentity { cluster_id: cluster_id(), node_id }.to_uri();
    parameters.subject_alt_names = vec![
        SanType::DnsName(NODE_SERVER_NAME.try_into().unwrap()),
        SanType::DnsName(node_server_name(node_id).try_into().unwrap()),
        SanType::URI(uri.try_into().unwrap()),
    ];
    parameters
}

/// A listener without sockets: what is put into the sender is accepted, with
/// whatever address or error the test wants. Time can be paused over it.
pub(crate) struct PipeListener(mpsc::UnboundedReceiver<io::Result<(Connection, SocketAddr)>>);

/// The connecting side of a [`PipeListener`].
pub(crate) struct PipeDialer(mpsc::UnboundedSender<io::Result<(Connection, SocketAddr)>>);

pub(crate) fn pipe() -> (PipeDialer, Box<PipeListener>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (PipeDialer(sender), Box::new(PipeListener(receiver)))
}

impl PipeDialer {
    /// Connects from `ip`.
    pub(crate) fn dial(&self, ip: &str) -> DuplexStream {
        let (near, far) = duplex(64 * 1024);
        self.dial_by(Box::new(far), ip);
        near
    }

    /// Connects from `ip` by whatever this is.
    pub(crate) fn dial_by(&self, far: Connection, ip: &str) {
        let peer = SocketAddr::new(ip.parse().unwrap(), 40_000);
        self.0.send(Ok((far, peer))).unwrap();
    }

    /// Makes the next accept fail.
    pub(crate) fn fail(&self, error: io::Error) {
        self.0.send(Err(error)).unwrap();
    }
}

impl Listener for PipeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        Box::pin(async move {
            match self.0.recv().await {
                Some(accepted) => accepted,
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}
