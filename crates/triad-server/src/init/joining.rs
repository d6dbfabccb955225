//! The directory of a node that joins a cluster which exists already.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{Access, Entry, write_all};
use super::{CreatedNode, InitError};
use crate::authority::{Authority, CERTIFICATE_DAYS_DEFAULT};
use crate::config::Config;
use crate::node_spec::NodeSpec;
use crate::serve::JOINING;

/// A node that joins.
#[derive(Clone, Debug)]
pub struct JoiningNode {
    /// Its id, which no node ever had.
    pub node_id: u64,
    /// Its name and addresses.
    pub spec: NodeSpec,
    /// The other nodes that take part, for its `[[node]]` list.
    pub others: Vec<(u64, NodeSpec)>,
    /// The present, from which its certificate is dated.
    pub now: SystemTime,
    /// It is the back-up of the one other node, and has no vote.
    pub is_backup: bool,
}

/// Makes the directory of a node that joins, below the directory of its
/// cluster (see [`super::init_cluster`]), whose authority signs for it.
/// Everything that is not the node's own is taken from the configuration
/// `like` of another node.
///
/// # Errors
///
/// The authority or the configuration cannot be read, or something is there
/// already. Nothing is left behind then.
pub fn init_joining(
    directory: &Path,
    like: &Path,
    node: &JoiningNode,
) -> Result<CreatedNode, InitError> {
    let authority = authority(&directory.join("ca"))?;
    let config_text = config_like(like, node, &authority)?;
    let issued =
        authority.issue_node(node.node_id, &node.spec, node.now, CERTIFICATE_DAYS_DEFAULT)?;
    let home = joining_directory(directory, node.node_id, &node.spec.name);
    let config = home.join("triad.toml");
    // What was made must be what a node accepts.
    Config::parse(&config_text, &config)
        .map_err(|error| InitError::Like { file: like.to_owned(), what: error.to_string() })?;
    let mark = "This node has never run, and joins a cluster. Its first start removes this file.\n";
    let data = home.join("data");
    let ca_pem = authority.certificate_pem().to_owned();
    let entries = [
        Entry::directory(home.clone(), Access::Everyone),
        Entry::file(config.clone(), config_text, Access::Everyone),
        Entry::file(home.join("ca.pem"), ca_pem, Access::Everyone),
        Entry::file(home.join("node.pem"), issued.certificate_pem, Access::Everyone),
        Entry::file(home.join("node-key.pem"), issued.key_pem, Access::Owner),
        Entry::directory(data.clone(), Access::Owner),
        Entry::file(data.join(JOINING), mark.to_owned(), Access::Everyone),
    ];
    write_all(directory, &entries)?;
    Ok(CreatedNode { node_id: node.node_id, spec: node.spec.clone(), directory: home, config })
}

/// Where the directory of a node that joins is made: its name may be that of
/// the node whose place it takes.
pub fn joining_directory(directory: &Path, node_id: u64, name: &str) -> PathBuf {
    directory.join(format!("{name}-{node_id}"))
}

pub(super) fn authority(home: &Path) -> Result<Authority, InitError> {
    let read = |name| {
        let file = home.join(name);
        std::fs::read_to_string(&file).map_err(|source| InitError::NoAuthority { file, source })
    };
    Ok(Authority::from_pem(&read("ca.pem")?, &read("ca-key.pem")?)?)
}

/// The configuration of another node, with what is this node's own in its
/// place. Comments are not kept.
fn config_like(
    like: &Path,
    node: &JoiningNode,
    authority: &Authority,
) -> Result<String, InitError> {
    let unusable = |what: String| InitError::Like { file: like.to_owned(), what };
    let text = std::fs::read_to_string(like).map_err(|source| unusable(source.to_string()))?;
    let config = Config::parse(&text, like).map_err(|error| unusable(error.to_string()))?;
    if config.cluster_id != *authority.cluster_id() {
        let what = format!(
            "it is of cluster {}, and the authority is that of {}; give --like another node's file",
            config.cluster_id,
            authority.cluster_id()
        );
        return Err(unusable(what));
    }
    let spec = placed(&node.spec, &config);
    let mut table: toml::Table = text.parse().map_err(|error| unusable(format!("{error}")))?;
    let id = |id: u64| {
        let id = i64::try_from(id).map_err(|_| unusable(format!("node id {id} is too large")))?;
        Ok::<_, InitError>(toml::Value::Integer(id))
    };
    let string = |text: &str| toml::Value::String(text.to_owned());
    table.insert("node_id".to_owned(), id(node.node_id)?);
    table.insert("name".to_owned(), string(&spec.name));
    // What the other is says nothing of this one.
    table.remove("mode");
    table.remove("role");
    if node.is_backup {
        table.insert("mode".to_owned(), string("pair"));
        table.insert("role".to_owned(), string("backup"));
    } else {
        table.remove("pair");
    }
    let mut listen = toml::Table::new();
    listen.insert("clients".to_owned(), string(&spec.client_listen()));
    listen.insert("peers".to_owned(), string(&spec.peer_listen()));
    if config.listen_http.is_some() {
        listen.insert("http".to_owned(), string(&spec.http_listen()));
    }
    table.insert("listen".to_owned(), listen.into());
    let mut nodes = Vec::new();
    let own = [(node.node_id, spec.clone())];
    for (node_id, spec) in node.others.iter().chain(&own) {
        let mut entry = toml::Table::new();
        entry.insert("id".to_owned(), id(*node_id)?);
        entry.insert("name".to_owned(), string(&spec.name));
        entry.insert("clients".to_owned(), string(&spec.client_address()));
        entry.insert("peers".to_owned(), string(&spec.peer_address()));
        let known = config.nodes.get(node_id);
        let http = match *node_id == node.node_id {
            true => config.listen_http.as_ref().map(|_| spec.http_address()),
            false => known.and_then(|known| known.http.clone()),
        };
        if let Some(http) = http {
            entry.insert("http".to_owned(), string(&http));
        }
        let hostid = known.and_then(|known| known.hostid.as_ref());
        if let Some(hostid) = hostid.filter(|_| *node_id != node.node_id) {
            entry.insert("hostid".to_owned(), string(&hostid.to_string()));
        }
        nodes.push(toml::Value::Table(entry));
    }
    table.insert("node".to_owned(), toml::Value::Array(nodes));
    let text = toml::to_string(&table).map_err(|error| unusable(error.to_string()))?;
    Ok(format!(
        "# Node {} of a Triad cluster, which joins it. Start it with\n\
         #     triad serve --config triad.toml\n\
         # See docs/reference/configuration.md for every setting.\n\n{text}",
        node.spec.name
    ))
}

/// The node as specified, with its pages where those of the node are whose place
/// it takes.
fn placed(spec: &NodeSpec, config: &Config) -> NodeSpec {
    let before = config.nodes.values().find(|n| n.member.client_address == spec.client_address());
    let http = before.and_then(|before| before.http.as_ref());
    let port = http.and_then(|http| http.rsplit_once(':')?.1.parse().ok());
    NodeSpec { http_port: port.unwrap_or(spec.http_port), ..spec.clone() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use triad_proto::identity::NodeIdentity;

    use super::*;
    use crate::certificates::{CertificateFiles, check_certificate_files};
    use crate::init::{InitOptions, init_cluster};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }

    fn node(id: u64, text: &str) -> (u64, NodeSpec) {
        (id, text.parse().unwrap())
    }

    #[test]
    fn a_node_that_joins_has_what_the_others_have_and_a_name_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let nodes = ["a=lic-a:27070", "b=lic-b:27070", "c=lic-c:27070"];
        let specs: Vec<NodeSpec> = nodes.map(|text| text.parse().unwrap()).to_vec();
        let created = init_cluster(directory.path(), &specs, &InitOptions::new(now())).unwrap();
        let like = &created.nodes[0].config;
        let mut text = fs::read_to_string(like).unwrap();
        text.push_str("\n[session]\nlease_ms = 20_000\n");
        fs::write(like, text).unwrap();

        let (node_id, spec) = node(4, "b=lic-new:9000/9001");
        let others = vec![node(1, nodes[0]), node(3, nodes[2])];
        let joining = JoiningNode { node_id, spec, others, now: now(), is_backup: false };
        let made = init_joining(directory.path(), like, &joining).unwrap();

        let (old, new) = (Config::load(like).unwrap(), Config::load(&made.config).unwrap());
        assert_eq!((new.node_id, new.name.as_str()), (4, "b"));
        assert_eq!(new.cluster_id, old.cluster_id);
        assert_eq!(new.admin_token_sha256, old.admin_token_sha256);
        assert_eq!(new.sessions, old.sessions);
        assert_eq!(new.listen_clients, "0.0.0.0:9000");
        assert_eq!(new.nodes.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(new.nodes[&4].member.peer_address, "lic-new:9001");
        assert!(made.directory.join("data/joining").exists());
        assert!(!made.directory.join("data/newborn").exists(), "it founds nothing");
        let tls = new.tls.unwrap();
        let files = CertificateFiles { ca: tls.ca, certificate: tls.certificate, key: tls.key };
        let expected = NodeIdentity { cluster_id: created.cluster_id, node_id: 4 };
        check_certificate_files(&files, &expected, now()).unwrap();

        let again = init_joining(directory.path(), like, &joining).unwrap_err();
        assert!(matches!(again, InitError::AlreadyExists(_)), "{again}");
    }

    #[test]
    fn the_authority_of_another_cluster_signs_for_nobody_here() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let specs = [node(1, "a=lic-a:27070").1];
        let made = init_cluster(one.path(), &specs, &InitOptions::new(now())).unwrap();
        init_cluster(two.path(), &specs, &InitOptions::new(now())).unwrap();
        let (node_id, spec) = node(2, "b=lic-b:27070");
        let joining =
            JoiningNode { node_id, spec, others: Vec::new(), now: now(), is_backup: false };
        let error = init_joining(two.path(), &made.nodes[0].config, &joining).unwrap_err();
        assert!(error.to_string().contains("the authority is that of"), "{error}");
        fs::remove_file(two.path().join("ca/ca-key.pem")).unwrap();
        let error = init_joining(two.path(), &made.nodes[0].config, &joining).unwrap_err();
        assert!(error.to_string().contains("ca-key.pem"), "{error}");
    }
}
