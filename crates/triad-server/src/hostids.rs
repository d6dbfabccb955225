//! The ids of this machine, for licenses that are bound to machines.

use triad_license::HostId;

/// Every typed host id that this machine can prove, best first. Empty on a
/// machine that tells nothing of itself.
pub fn of_this_machine() -> Vec<HostId> {
    triad_proto::machine::hostids().iter().filter_map(|id| HostId::parse(id).ok()).collect()
}
