//! What this node asks of the office, and how it is signed.

use triad_ledger::Ledger;
use triad_license::{
    Binding, CapabilityRequest, CurrentLicense, DeclaredRole, FeatureUsage, HostId, Operation,
    ServerKey, USAGE_LINES_MAX, WantedRights, authenticate, license_digest,
};

use super::OfficeError;
use super::config::OfficeConfig;
use super::key;
use crate::config::Config;
use crate::hostids;

/// Asks in the name of one server.
pub(crate) struct Asker {
    key: ServerKey,
    hostid: HostId,
    role: DeclaredRole,
    partners: Vec<HostId>,
    rights: Vec<WantedRights>,
    name: String,
    cluster: String,
    /// That of the newest request.
    sequence: u64,
}

/// What is told of the ledger with a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) license: Option<CurrentLicense>,
    pub(crate) usage: Vec<FeatureUsage>,
}

impl Asker {
    pub(crate) fn new(config: &Config, office: &OfficeConfig) -> Result<Self, OfficeError> {
        let hostid = own_hostid(office)?;
        if office.partners.contains(&hostid) {
            let what = format!("{hostid} is this machine itself; name the other server");
            return Err(OfficeError { place: "office".into(), what });
        }
        let name = triad_proto::machine::host_name();
        Ok(Asker {
            key: key::load_or_draw(&office.key)?,
            hostid,
            role: office.role,
            partners: office.partners.clone(),
            rights: office.rights.clone(),
            name: if name.is_empty() {
                config.name.clone()
            } else {
                format!("{} ({name})", config.name)
            },
            cluster: config.cluster_id.to_string(),
            sequence: 0,
        })
    }

    /// Which machine asks.
    pub(crate) fn hostid(&self) -> &HostId {
        &self.hostid
    }

    /// The office has seen a request of this sequence; the next is above it.
    pub(crate) fn is_behind(&mut self, last_sequence: u64) {
        self.sequence = self.sequence.max(last_sequence);
    }

    /// A new request, signed; and its correlation id.
    pub(crate) fn ask(
        &mut self,
        operation: Operation,
        told: Told,
        now_ms: u64,
    ) -> Result<String, OfficeError> {
        let failed = |what: String| OfficeError { place: "the request".into(), what };
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|error| failed(error.to_string()))?;
        // The time, so that it rises over restarts, and more if the clock went
        // back.
        self.sequence = now_ms.max(self.sequence + 1);
        let request = CapabilityRequest {
            operation,
            correlation: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            sequence: self.sequence,
            issued_ms: now_ms,
            cluster: self.cluster.clone(),
            hostid: self.hostid.clone(),
            role: self.role,
            partners: self.partners.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incremental: false,
            rights: match operation {
                Operation::Request => self.rights.clone(),
                Operation::Report => Vec::new(),
            },
            license: told.license,
            usage: told.usage,
        };
        request.seal(&self.key).map_err(|error| failed(error.to_string()))
    }
}

/// The id by which this machine is known to the office: as configured, or the
/// first that is of its partners' type.
fn own_hostid(office: &OfficeConfig) -> Result<HostId, OfficeError> {
    if let Some(configured) = &office.hostid {
        return Ok(configured.clone());
    }
    let kind = office.partners.first().map(HostId::kind);
    let found = hostids::of_this_machine();
    let fits = |host: &&HostId| kind.is_none_or(|kind| host.kind() == kind);
    found.iter().find(fits).cloned().ok_or_else(|| {
        let known: Vec<String> = found.iter().map(HostId::to_string).collect();
        let what = format!(
            "this machine has no host id of its partners' type; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        OfficeError { place: "office.hostid".into(), what }
    })
}

/// What is told with a request of the ledger as it stands.
pub(crate) fn told_of(ledger: &Ledger, config: &Config) -> Told {
    let mut usage: Vec<FeatureUsage> = Vec::new();
    for (_, pool) in ledger.pools() {
        let feature = pool.key.feature.as_str();
        let at = usage.iter().position(|usage| usage.feature == feature);
        let at = at.unwrap_or_else(|| {
            usage.push(FeatureUsage { feature: feature.to_owned(), seats: 0, in_use: 0 });
            usage.len() - 1
        });
        usage[at].seats += pool.licensed;
        usage[at].in_use += pool.held;
    }
    usage.truncate(USAGE_LINES_MAX);
    // The office issues the only licenses that are bound to a group.
    let licenses = ledger.licenses().filter_map(|license| {
        let authentic = authenticate(&license.text, &config.publishers).ok()?;
        let Binding::Group { .. } = authentic.binding() else { return None };
        let current = CurrentLicense {
            id: license.id.to_string(),
            serial: license.serial,
            digest: license_digest(&license.text).ok()?,
        };
        Some((!license.lines.is_empty(), current))
    });
    Told { license: CurrentLicense::of_group(licenses), usage }
}

/// What a request by file asks for.
#[derive(Clone, Debug, Default)]
pub struct OfflineAsk {
    /// Rights by id; those of the configuration without any.
    pub rights: Vec<WantedRights>,
    /// The license in force, if it is known.
    pub license: Option<CurrentLicense>,
    /// What is in use, if it is known.
    pub usage: Vec<FeatureUsage>,
    /// Now, ms since 1970 UTC.
    pub now_ms: u64,
}

/// A request for the office, to be carried there by file.
///
/// # Errors
///
/// The configuration has no `[office]`, or the key cannot be read.
pub fn offline_request(config: &Config, ask: OfflineAsk) -> Result<String, OfficeError> {
    let Some(office) = &config.office else {
        let what = "there is no [office] in it; see docs/how-to/air-gapped-exchange.md";
        return Err(OfficeError { place: config.file.display().to_string(), what: what.into() });
    };
    let mut asker = Asker::new(config, office)?;
    if !ask.rights.is_empty() {
        asker.rights = ask.rights;
    }
    let told = Told { license: ask.license, usage: ask.usage };
    asker.ask(Operation::Request, told, ask.now_ms)
}
