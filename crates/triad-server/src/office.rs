//! The publisher's back office, as this node sees it: it is told who is here,
//! asked for rights, and its licenses are put in force through the log.
//!
//! Every node reports itself when it starts and with each poll. The leader alone
//! asks for rights, for the cluster as a whole.

mod call;
mod config;
mod key;
mod poll;
mod request;

use triad_proto::net::SharedNetwork;

pub(crate) use config::{Around, RawOffice};
pub use config::{OfficeConfig, Trust};
pub(crate) use poll::run;
pub use request::{OfflineAsk, offline_request};

use crate::config::Config;
use call::Caller;
use request::Asker;

/// Why the office cannot be called from here.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct OfficeError {
    /// The file or the key of the configuration.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// What is needed to call the office, checked before the node starts.
pub(crate) struct Prepared {
    pub(crate) caller: Caller,
    pub(crate) asker: Asker,
    pub(crate) config: OfficeConfig,
}

/// Reads key and certificates; `None` without an office.
pub(crate) fn prepare(
    config: &Config,
    network: &SharedNetwork,
) -> Result<Option<Prepared>, OfficeError> {
    let Some(office) = &config.office else { return Ok(None) };
    Ok(Some(Prepared {
        caller: Caller::new(office, network)?,
        asker: Asker::new(config, office)?,
        config: office.clone(),
    }))
}
