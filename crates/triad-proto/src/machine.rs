//! What this machine is called: its name, and the ids by which licenses know it.

/// The name of this host; empty if it has none that is text.
pub fn host_name() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Every id that this machine can prove, as `TYPE:value`, best first. Empty on
/// a machine that tells nothing of itself.
pub fn hostids() -> Vec<String> {
    let ethernet = mac_address::get_mac_address().ok().flatten();
    let ethernet = ethernet.map(|address| address.to_string().replace(':', ""));
    let machine_id = machine_uid::get().ok();
    let name = Some(host_name()).filter(|name| !name.is_empty());
    let ids = [("ETHERNET", ethernet), ("MACHINE_ID", machine_id), ("HOSTNAME", name)];
    ids.into_iter().filter_map(|(kind, value)| Some(format!("{kind}:{}", value?))).collect()
}
