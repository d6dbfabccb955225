//! Where a license may be used: one cluster, or three machines.

use std::fmt;

use crate::error::LicenseError;
use crate::hostid::HostId;

/// A license that names machines names one for each node of the triad.
pub const HOSTIDS_PER_BINDING: usize = 3;

/// Where a license may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In the cluster of this identity. Its machines may be replaced without
    /// a new license.
    Cluster(String),
    /// On these three machines.
    Hosts([HostId; HOSTIDS_PER_BINDING]),
    /// In the cluster of this identity, and there on these one to three
    /// machines only: what the back office issues to a registered group.
    Group {
        /// The cluster's identity.
        cluster: String,
        /// The members of the group.
        hosts: Vec<HostId>,
    },
}

/// The site that a license is to be used at, as far as the node knows it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The cluster's identity: the fingerprint of its certificate authority.
    pub cluster_id: &'a str,
    /// All host ids of all three nodes.
    pub hostids: &'a [HostId],
}

impl Binding {
    /// Whether it names this cluster, or only machines of this cluster.
    pub(crate) fn check_site(&self, site: &Site<'_>) -> Result<(), LicenseError> {
        let found = match self {
            Binding::Cluster(id) | Binding::Group { cluster: id, .. } if id == site.cluster_id => {
                return Ok(());
            }
            Binding::Cluster(_) | Binding::Group { .. } => format!("cluster {}", site.cluster_id),
            Binding::Hosts(hosts) if hosts.iter().all(|h| site.hostids.contains(h)) => {
                return Ok(());
            }
            Binding::Hosts(_) => format!("a site of {}", listed(site.hostids)),
        };
        Err(LicenseError::WronglyBound { expected: self.to_string(), found })
    }

    /// Whether a node with the host ids `own` may serve it.
    ///
    /// # Errors
    ///
    /// [`LicenseError::WronglyBound`].
    pub fn check_own_host(&self, own: &[HostId]) -> Result<(), LicenseError> {
        match self.hosts() {
            None => Ok(()),
            Some(hosts) if hosts.iter().any(|host| own.contains(host)) => Ok(()),
            Some(_) => Err(LicenseError::WronglyBound {
                expected: self.to_string(),
                found: format!("a machine of {}", listed(own)),
            }),
        }
    }

    /// The machines it names; `None` if it names none.
    pub fn hosts(&self) -> Option<&[HostId]> {
        match self {
            Binding::Cluster(_) => None,
            Binding::Hosts(hosts) => Some(hosts),
            Binding::Group { hosts, .. } => Some(hosts),
        }
    }
}

fn listed(hostids: &[HostId]) -> String {
    /// A machine has a few host ids; a message does not list hundreds.
    const LISTED_MAX: usize = 12;
    if hostids.is_empty() {
        return "no known host ids".to_owned();
    }
    let names: Vec<String> = hostids.iter().take(LISTED_MAX).map(HostId::to_string).collect();
    let more = if hostids.len() > LISTED_MAX { ", ..." } else { "" };
    format!("hosts {}{more}", names.join(", "))
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Binding::Cluster(id) => write!(f, "cluster {id}"),
            Binding::Hosts(hosts) => f.write_str(&listed(hosts)),
            Binding::Group { cluster, hosts } => {
                write!(f, "cluster {cluster} on {}", listed(hosts))
            }
        }
    }
}
