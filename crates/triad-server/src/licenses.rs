//! Putting a license in force, whether an administrator brings it or the back
//! office sends it (`by` nobody); and the machines that it may be served on.

use std::collections::BTreeMap;

use triad_ledger::names::LicenseId;
use triad_ledger::{Command, Outcome};
use triad_license::{
    HostId, HostIdKind, LicenseError, SignedResponse, Site, binding_of, check_own_host, is_response,
};
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::config::Config;
use crate::convert;
use crate::hostids;
use crate::node::Node;
use crate::session_stream::position;
use crate::tokens::Principal;

/// Verifies a license, or the response of a back office with a license in it,
/// and puts it in force through the log.
///
/// # Errors
///
/// This node does not lead, or what is wrong with the document.
pub(crate) async fn apply(
    node: &Node,
    text: &str,
    by: Option<&Principal>,
) -> Result<v1::ApplyLicenseResponse, Refusal> {
    if node.leading_term().is_none() {
        return Err(node.not_leader());
    }
    let license = match is_response(text) {
        true => license_in(node, text)?,
        false => text.to_owned(),
    };
    let config = node.in_force();
    let hostids: Vec<_> = config.nodes.values().filter_map(|entry| entry.hostid.clone()).collect();
    let site = Site { cluster_id: config.cluster_id.as_str(), hostids: &hostids };
    let verified =
        triad_license::verify(&license, &config.publishers, &site, node.consensus.date_ms())
            .map_err(|error| convert::license_error(&error))?;
    check_own_host(&verified, &own_hostids(&config))
        .map_err(|error| convert::license_error(&error))?;
    let license = verified.into_license();
    let (license_id, serial) = (license.id.to_string(), license.serial);
    let install = Command::Install { license };
    let committed = match by {
        Some(by) => node.propose_by(by, install).await?,
        None => node.propose(vec![install]).await?,
    };
    let position = position(&committed);
    let answer = committed.answers.into_iter().next();
    let answer =
        answer.ok_or_else(|| Refusal::because(Reason::Internal, "no answer to an install"))?;
    match answer.map_err(|denial| convert::denial(&denial))? {
        Outcome::Installed { changed, overage } => {
            let position = Some(position);
            Ok(v1::ApplyLicenseResponse { license_id, serial, changed, overage, position })
        }
        other => unreachable!("an install is not answered {other:?}"),
    }
}

/// The license that a response encloses, if it may be applied here and now.
fn license_in(node: &Node, text: &str) -> Result<String, Refusal> {
    let read = SignedResponse::open(text, &node.in_force().publishers)
        .map_err(|error| convert::license_error(&error))?;
    let response = read.response;
    let own = node.config.cluster_id.as_str();
    if response.cluster != own {
        let message = format!(
            "the response is for cluster {}, but this is cluster {own}; apply it there, or make a \
             request here",
            response.cluster
        );
        return Err(Refusal::because(Reason::LicenseWronglyBound, message));
    }
    if response.expires_ms <= node.consensus.date_ms() {
        let message = "the response is too old to be applied; make a new request, and have that \
                       answered";
        return Err(Refusal::because(Reason::LicenseExpired, message));
    }
    read.license.ok_or_else(|| {
        let status = response.status.as_str();
        let message = format!("the response has no license in it: its status is {status}");
        Refusal::because(Reason::LicenseMalformed, message)
    })
}

/// Every id that this node is known by: those that the machine can prove, and
/// what was agreed upon.
pub(crate) fn own_hostids(config: &Config) -> Vec<HostId> {
    let mut own = hostids::of_this_machine();
    let listed = config.nodes.get(&config.node_id).and_then(|entry| entry.hostid.as_ref());
    let office = config.office.as_ref().and_then(|office| office.hostid.as_ref());
    let agreed = [listed, office].into_iter().flatten();
    own.extend(agreed.filter(|host| host.kind() == HostIdKind::String).cloned());
    own
}

/// Which of the licenses in force this machine must not serve: data with such a one was brought
/// from another machine.
pub(crate) struct Foreign {
    own: Vec<HostId>,
    /// By id and serial; `None` where it may be served here.
    known: BTreeMap<(LicenseId, u64), Option<LicenseError>>,
}

impl Foreign {
    /// Knows none yet.
    pub(crate) fn to(config: &Config) -> Self {
        Foreign { own: own_hostids(config), known: BTreeMap::new() }
    }

    /// Reads the licenses that came since. A document of a thousand features takes some
    /// milliseconds, so this is done when it comes, and not when leadership changes.
    ///
    /// Signatures were looked at when they were applied. Here they are not: whoever brings data
    /// to another machine could take the publisher's key out of the configuration.
    pub(crate) fn follow(&mut self, node: &Node) {
        let mut before = std::mem::take(&mut self.known);
        let mut texts = Vec::new();
        node.consensus.read(|ledger| {
            for license in ledger.licenses() {
                let key = (license.id.clone(), license.serial);
                match before.remove(&key) {
                    Some(known) => drop(self.known.insert(key, known)),
                    None => texts.push((key, license.text.clone())),
                }
            }
        });
        for (key, text) in texts {
            let binding = binding_of(&text);
            let foreign = binding.and_then(|binding| binding.check_own_host(&self.own).err());
            self.known.insert(key, foreign);
        }
    }

    /// The first of them, if there is one.
    pub(crate) fn first(&self) -> Option<&LicenseError> {
        self.known.values().flatten().next()
    }
}
