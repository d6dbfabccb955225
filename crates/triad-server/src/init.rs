//! Making a cluster: an authority, a directory for each node with its
//! configuration and certificates, and the first administrator's token.
//!
//! ```text
//! DIR/ca/ca.pem, ca-key.pem     the authority; its key belongs off the nodes
//! DIR/NAME/triad.toml, ca.pem, node.pem, node-key.pem    copied to the node, whole
//! DIR/NAME/data/newborn                                  the mark of a node that never ran
//! DIR/admin.token               the administrator's token; nodes know its hash only
//! ```

mod config_text;
mod existing;
mod files;
mod joining;
mod renewing;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use triad_proto::identity::ClusterId;

use crate::authority::{Authority, AuthorityError, CERTIFICATE_DAYS_DEFAULT, sha256};
use crate::node_spec::NodeSpec;
use crate::serve::{JOINING, NEWBORN};
use config_text::config_text;
pub use existing::existing_cluster;
use files::{Access, Entry, write_all};
pub use joining::{JoiningNode, init_joining, joining_directory};
pub use renewing::{
    CertificateInfo, IssuedFiles, certificates_in, issue_certificate, renew_certificate,
};

/// Three is the product; one and two are its beginnings, five the most whose
/// votes are worth waiting for.
const NODES_MAX: usize = 5;

/// Certificates end, so that a key lost long ago opens nothing.
const CERTIFICATE_DAYS_MAX: u32 = 3_650;

/// What an administrator's token begins with, so that secret scanners and
/// people know one when they see it.
const TOKEN_PREFIX: &str = "tat_";

/// Whether a cluster's connections are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// They are.
    #[default]
    On,
    /// They are not: only for benchmarks on loopback.
    Off,
}

/// What a new cluster needs besides its nodes.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The publishers whose licenses the nodes accept, as
    /// `triad-publisher-public-v1:...`. May be empty, and filled in later.
    pub publisher_keys: Vec<String>,
    /// Whether the nodes use TLS. Certificates are made in any case.
    pub tls: TlsMode,
    /// For how many days the nodes' certificates are valid: 1 to 3650.
    pub certificate_days: u32,
    /// The present, from which certificates are dated.
    pub now: SystemTime,
    /// Two nodes that serve in turn, the main first, instead of nodes that agree.
    pub pair: bool,
    /// Where each node keeps its data, if not in `data` beside its configuration.
    pub data_dir: Option<PathBuf>,
}

impl InitOptions {
    /// TLS on, certificates of 825 days, no publisher yet.
    pub fn new(now: SystemTime) -> Self {
        Self {
            publisher_keys: Vec::new(),
            tls: TlsMode::On,
            certificate_days: CERTIFICATE_DAYS_DEFAULT,
            now,
            pair: false,
            data_dir: None,
        }
    }
}

/// A cluster that has been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id, to which licenses are bound.
    pub cluster_id: ClusterId,
    /// What clients need to trust it.
    pub ca: PathBuf,
    /// The file with the administrator's token.
    pub admin_token: PathBuf,
    /// Its nodes, in the order given; the first has id 1.
    pub nodes: Vec<CreatedNode>,
}

/// A node of a cluster that has been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedNode {
    /// Its number, from 1.
    pub node_id: u64,
    /// Its name and addresses.
    pub spec: NodeSpec,
    /// The directory to copy to its machine.
    pub directory: PathBuf,
    /// The configuration in it, for `triad serve --config`.
    pub config: PathBuf,
}

/// Makes a cluster of `nodes` below `directory`, which may exist.
///
/// All or nothing: where any of the files exists already nothing is written,
/// and after a failure what was written is removed again.
pub fn init_cluster(
    directory: &Path,
    nodes: &[NodeSpec],
    options: &InitOptions,
) -> Result<Created, InitError> {
    check(nodes, options)?;
    let token = draw_token()?;
    let authority = Authority::create(options.now)?;

    let mut entries = authority_entries(directory, &authority);
    let mut created = Vec::new();
    for (node_id, spec) in (1..).zip(nodes) {
        let home = directory.join(&spec.name);
        let issued = authority.issue_node(node_id, spec, options.now, options.certificate_days)?;
        let config_text = config_text(&authority, node_id, nodes, options, &token);
        let config = home.join("triad.toml");
        entries.push(Entry::directory(home.clone(), Access::Everyone));
        entries.push(Entry::file(config.clone(), config_text, Access::Everyone));
        let ca_pem = authority.certificate_pem().to_owned();
        entries.push(Entry::file(home.join("ca.pem"), ca_pem, Access::Everyone));
        let certificate =
            Entry::file(home.join("node.pem"), issued.certificate_pem, Access::Everyone);
        entries.push(certificate);
        entries.push(Entry::file(home.join("node-key.pem"), issued.key_pem, Access::Owner));
        // A node starts with an empty log only where this stands. It is removed
        // by the first start, so a node that lost its data does not vote.
        let data = home.join("data");
        let mark = "This node has never run. Its first start removes this file.\n".to_owned();
        // A back-up founds nothing: it follows.
        let name = if options.pair && node_id > 1 { JOINING } else { NEWBORN };
        entries.push(Entry::directory(data.clone(), Access::Owner));
        entries.push(Entry::file(data.join(name), mark, Access::Everyone));
        created.push(CreatedNode { node_id, spec: spec.clone(), directory: home, config });
    }
    let admin_token = directory.join("admin.token");
    entries.push(Entry::file(admin_token.clone(), format!("{token}\n"), Access::Owner));
    write_all(directory, &entries)?;
    let cluster_id = authority.cluster_id().clone();
    Ok(Created { cluster_id, ca: directory.join("ca/ca.pem"), admin_token, nodes: created })
}

/// Draws an administrator's token.
///
/// # Errors
///
/// The system gave no random bytes.
pub fn draw_token() -> Result<String, InitError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(InitError::Random)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// The hash of an administrator's token as nodes keep it: SHA-256 of its
/// text without blanks around it. A token has 256 random bits, so that a slow
/// hash would protect nothing more.
pub fn token_digest(token: &str) -> [u8; 32] {
    sha256(token.trim().as_bytes())
}

/// The same in hexadecimal, as it stands in `triad.toml`.
pub fn admin_token_hash(token: &str) -> String {
    token_digest(token).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes every write");
        hex
    })
}

/// Why no cluster was made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Too few or too many nodes.
    #[error("a cluster has 1 to {NODES_MAX} nodes, three to survive a failure; {0} were given")]
    NodeCount(usize),
    /// A pair of more or fewer than two.
    #[error("a pair has two nodes, the main server first and then its back-up; {0} were given")]
    PairCount(usize),
    /// Two nodes of one name.
    #[error("two nodes are named {0:?}; give each a name of its own")]
    DuplicateName(String),
    /// Two nodes, or two ports of one, at the same place.
    #[error("{0} is used twice; give each node its own host or its own ports")]
    DuplicateAddress(String),
    /// Certificates that would last for no time or too long.
    #[error("certificates may be valid for 1 to {CERTIFICATE_DAYS_MAX} days, not for {0}")]
    CertificateDays(u32),
    /// Something is there already.
    #[error(
        "{} exists; a cluster is never overwritten: choose another directory, \
         or move the old one away",
        .0.display()
    )]
    AlreadyExists(PathBuf),
    /// There is a cluster, and it is not the one that is asked for.
    #[error(
        "{}: {what}; there is another cluster: choose another directory, or give the nodes and \
         options with which it was made",
        file.display()
    )]
    Another {
        /// The file that says so.
        file: PathBuf,
        /// What it says otherwise.
        what: String,
    },
    /// A file could not be written.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The authority's key is not there.
    #[error(
        "{}: {source}; a new node needs the authority that `triad init` made: give its directory \
         with --dir",
        file.display()
    )]
    NoAuthority {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration that a new node's is made from cannot be used.
    #[error("{}: {what}", file.display())]
    Like {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

fn check(nodes: &[NodeSpec], options: &InitOptions) -> Result<(), InitError> {
    if !(1..=NODES_MAX).contains(&nodes.len()) {
        return Err(InitError::NodeCount(nodes.len()));
    }
    if options.pair && nodes.len() != 2 {
        return Err(InitError::PairCount(nodes.len()));
    }
    if !(1..=CERTIFICATE_DAYS_MAX).contains(&options.certificate_days) {
        return Err(InitError::CertificateDays(options.certificate_days));
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for node in nodes {
        if !names.insert(&node.name) {
            return Err(InitError::DuplicateName(node.name.clone()));
        }
        for address in [node.client_address(), node.peer_address(), node.http_address()] {
            if let Some(twice) = addresses.replace(address) {
                return Err(InitError::DuplicateAddress(twice));
            }
        }
    }
    Ok(())
}

fn authority_entries(directory: &Path, authority: &Authority) -> Vec<Entry> {
    let home = directory.join("ca");
    vec![
        Entry::directory(home.clone(), Access::Owner),
        Entry::file(home.join("ca.pem"), authority.certificate_pem().to_owned(), Access::Everyone),
        Entry::file(home.join("ca-key.pem"), authority.key_pem(), Access::Owner),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use triad_proto::identity::NodeIdentity;
    use triad_proto::net::{
        AcceptLimits, ClientCertificates, ClientTls, Connector, FirstBytes, Network, ServerTls,
        TcpNetwork, accept_loop,
    };

    use super::*;
    use crate::certificates::{
        CertificateFiles, CertificatesError, NodeCertificates, check_certificate_files,
    };

    fn options() -> InitOptions {
        InitOptions {
            publisher_keys: vec!["triad-publisher-public-v1:\"quoted\"".to_owned()],
            ..InitOptions::new(UNIX_EPOCH + Duration::from_secs(1_795_392_000))
        }
    }

    fn three() -> Vec<NodeSpec> {
        ["a=lic-a.example.com:27070", "b=10.0.0.2:9000/8000", "c=[2001:db8::3]:27070"]
            .map(|text| text.parse().unwrap())
            .to_vec()
    }

    fn check_node(
        created: &Created,
        index: usize,
        now: SystemTime,
    ) -> Result<NodeCertificates, CertificatesError> {
        let node = &created.nodes[index];
        let files = CertificateFiles {
            ca: node.directory.join("ca.pem"),
            certificate: node.directory.join("node.pem"),
            key: node.directory.join("node-key.pem"),
        };
        let cluster_id = created.cluster_id.clone();
        let expected = NodeIdentity { cluster_id, node_id: node.node_id };
        check_certificate_files(&files, &expected, now)
    }

    #[test]
    fn every_node_gets_certificates_that_pass_its_own_check() {
        let directory = tempfile::tempdir().unwrap();
        let created = init_cluster(directory.path(), &three(), &options()).unwrap();
        assert_eq!(created.nodes.len(), 3);
        for index in 0..3 {
            check_node(&created, index, options().now).unwrap();
        }
        let (one, two) = (&created.nodes[0].directory, &created.nodes[1].directory);
        let key = |home: &Path| fs::read(home.join("node-key.pem")).unwrap();
        assert_ne!(key(one), key(two), "each node has a key of its own");
        assert!(!one.join("ca-key.pem").exists(), "the authority's key stays off the nodes");
    }

    #[tokio::test]
    async fn the_nodes_of_one_cluster_talk_and_those_of_another_are_kept_out() {
        // The TLS library judges dates by the machine's own clock.
        let now = Duration::from_millis(triad_raft::WallClock::wall_ms(&triad_raft::SystemClock));
        let options = InitOptions::new(SystemTime::UNIX_EPOCH + now);
        let homes: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let made = homes.iter().map(|home| init_cluster(home.path(), &three(), &options));
        let made: Vec<_> = made.map(Result::unwrap).collect();
        let checked = |cluster: usize, node| check_node(&made[cluster], node, options.now).unwrap();
        let own = checked(0, 0);
        let required = ClientCertificates::Required(own.ca_pem.clone());
        let tls = ServerTls::new(&own.identity, &required).unwrap();
        let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        let limits = AcceptLimits { first_bytes: FirstBytes::Any, ..AcceptLimits::peers() };
        let mut incoming = accept_loop(listener, Some(Arc::new(tls)), limits);

        // Of all who dial, the first to be accepted is the one with the right
        // certificate: the others do not get that far.
        let dial = async |certificates: &NodeCertificates, trusted: &[u8], node_id| {
            let tls = ClientTls::new(trusted, Some(&certificates.identity)).unwrap();
            let network = Arc::new(TcpNetwork::new());
            let connector = Connector::new(network, Some(tls.for_node(node_id)));
            let mut wire = connector.connect(&host_port).await?;
            wire.write_all(b"hello").await?;
            wire.read_u8().await
        };
        let dialing = async {
            let foreign = checked(1, 1);
            assert!(dial(&foreign, &foreign.ca_pem, 1).await.is_err(), "foreign to each other");
            assert!(dial(&foreign, &own.ca_pem, 1).await.is_err(), "foreign to the server");
            assert!(dial(&checked(0, 1), &own.ca_pem, 3).await.is_err(), "not the node dialed");
            dial(&checked(0, 1), &own.ca_pem, 1).await
        };
        let accepting = async {
            let mut stream = incoming.next().await.unwrap().unwrap();
            stream.write_u8(7).await.unwrap();
            stream.flush().await.unwrap();
            // The loop goes on, so that whoever else dials is answered.
            let identity = stream.info().identity.clone();
            let mut rest = Vec::new();
            tokio::select! {
                _ = incoming.next() => panic!("a second one was accepted"),
                _ = stream.read_to_end(&mut rest) => identity,
            }
        };
        let (answer, identity) = tokio::join!(dialing, accepting);
        assert_eq!(answer.unwrap(), 7);
        let node = identity.unwrap().node.clone().unwrap();
        assert_eq!((node.node_id, node.cluster_id), (2, made[0].cluster_id.clone()));
    }

    #[test]
    fn the_configuration_says_exactly_what_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let created = init_cluster(directory.path(), &three(), &options()).unwrap();
        let token = fs::read_to_string(&created.admin_token).unwrap();
        let text = fs::read_to_string(&created.nodes[1].config).unwrap();
        let expected = format!(
            r#"
            cluster_id = "{}"
            node_id = 2
            name = "b"
            data_dir = "data"
            publisher_keys = ['triad-publisher-public-v1:"quoted"']
            admin_token_sha256 = "{}"
            listen = {{ clients = "0.0.0.0:9000", peers = "0.0.0.0:8000", http = "0.0.0.0:9010" }}
            [tls]
            mode = "on"
            ca = "ca.pem"
            certificate = "node.pem"
            key = "node-key.pem"
            [[node]]
            id = 1
            name = "a"
            clients = "lic-a.example.com:27070"
            peers = "lic-a.example.com:27071"
            http = "lic-a.example.com:27080"
            [[node]]
            id = 2
            name = "b"
            clients = "10.0.0.2:9000"
            peers = "10.0.0.2:8000"
            http = "10.0.0.2:9010"
            [[node]]
            id = 3
            name = "c"
            clients = "[2001:db8::3]:27070"
            peers = "[2001:db8::3]:27071"
            http = "[2001:db8::3]:27080"
            "#,
            created.cluster_id,
            admin_token_hash(&token),
        );
        let parse = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(parse(&text), parse(&expected), "{text}");
    }

    #[test]
    fn the_token_has_256_bits_and_only_its_hash_reaches_the_nodes() {
        let directory = tempfile::tempdir().unwrap();
        let created = init_cluster(directory.path(), &three(), &options()).unwrap();
        let token = fs::read_to_string(&created.admin_token).unwrap();
        let secret = token.trim_end().strip_prefix("tat_").unwrap();
        assert_eq!(secret.len(), 43);
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
        for node in &created.nodes {
            assert!(!fs::read_to_string(&node.config).unwrap().contains(secret));
        }
        // printf 'abc' | sha256sum
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(admin_token_hash("abc\n"), known);
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        init_cluster(directory.path(), &three(), &options()).unwrap();
        let mode = |name: &str| {
            fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        for secret in ["admin.token", "ca/ca-key.pem", "a/node-key.pem", "c/node-key.pem"] {
            assert_eq!(mode(secret), 0o600, "{secret}");
        }
        assert_eq!(mode("ca"), 0o700);
    }

    #[test]
    fn an_existing_cluster_is_never_touched() {
        let directory = tempfile::tempdir().unwrap();
        let created = init_cluster(directory.path(), &three(), &options()).unwrap();
        let before = fs::read(&created.ca).unwrap();
        let error = init_cluster(directory.path(), &three(), &options()).unwrap_err();
        assert!(matches!(error, InitError::AlreadyExists(_)));
        assert!(error.to_string().contains("never overwritten"), "{error}");
        assert_eq!(fs::read(&created.ca).unwrap(), before);
    }

    #[test]
    fn one_file_in_the_way_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("c")).unwrap();
        let error = init_cluster(directory.path(), &three(), &options()).unwrap_err();
        assert!(matches!(error, InitError::AlreadyExists(path) if path.ends_with("c")));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn impossible_clusters_are_refused_before_anything_is_made() {
        let refused = |nodes: &[&str], days| {
            let directory = tempfile::tempdir().unwrap();
            let nodes: Vec<NodeSpec> = nodes.iter().map(|text| text.parse().unwrap()).collect();
            let options = InitOptions { certificate_days: days, ..options() };
            let error = init_cluster(directory.path(), &nodes, &options).unwrap_err();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            error
        };
        assert!(matches!(refused(&[], 1), InitError::NodeCount(0)));
        assert!(matches!(refused(&["a=x:1", "a=y:1"], 1), InitError::DuplicateName(_)));
        // The peers' port of a is the clients' port of b.
        assert!(matches!(refused(&["a=x:1", "b=x:2"], 1), InitError::DuplicateAddress(_)));
        assert!(matches!(refused(&["a=x:1"], 0), InitError::CertificateDays(0)));
        assert!(matches!(refused(&["a=x:1"], 9_999), InitError::CertificateDays(9_999)));
    }
}
