//! The ids of this machine, for licenses that are bound to machines.

use triad_license::HostId;

/// Every typed host id that this machine can prove, best first. Empty on a
/// machine that tells nothing of itself.
pub fn of_this_machine() -> Vec<HostId> {
    let mut ids = Vec::new();
    let mut add = |kind: &str, value: String| {
        ids.extend(HostId::parse(&format!("{kind}:{value}")).ok());
    };
    if let Ok(Some(address)) = mac_address::get_mac_address() {
        add("ETHERNET", address.to_string().replace(':', ""));
    }
    if let Ok(id) = machine_uid::get() {
        add("MACHINE_ID", id);
    }
    if let Ok(name) = hostname::get() {
        add("HOSTNAME", name.to_string_lossy().into_owned());
    }
    ids
}
