//! What this machine is called: its name, the ids by which licenses know it, and
//! who uses it.

/// The name of this host; empty if it has none that is text.
pub fn host_name() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The user who runs this program: as the environment says, or, where it says
/// nothing, as under cron, in services and in containers, as the password database
/// does; `unknown` if that has no name either. The database may be a directory on
/// the network, and the answer takes as long as it does.
pub fn user_name() -> String {
    let variables = ["USER", "LOGNAME", "USERNAME"].map(|name| std::env::var(name).ok());
    let told = variables.into_iter().flatten().find(|name| !name.is_empty());
    told.or_else(account_name).unwrap_or_else(|| "unknown".to_owned())
}

/// The name of the account that this program has the rights of.
#[cfg(unix)]
fn account_name() -> Option<String> {
    let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
    Some(account.name).filter(|name| !name.is_empty())
}

#[cfg(not(unix))]
fn account_name() -> Option<String> {
    None
}

/// Every id that this machine can prove, as `TYPE:value`, best first. Empty on
/// a machine that tells nothing of itself.
pub fn hostids() -> Vec<String> {
    let ethernet = mac_address::get_mac_address().ok().flatten();
    let ethernet = ethernet.map(|address| address.to_string());
    let machine_id = machine_uid::get().ok();
    let name = Some(host_name()).filter(|name| !name.is_empty());
    let ids = [("ETHERNET", ethernet), ("MACHINE_ID", machine_id), ("HOSTNAME", name)];
    ids.into_iter().filter_map(|(kind, value)| Some(hostid(kind, &value?))).collect()
}

/// An id in the one spelling of licenses: in lower case, digits without what
/// stands between them, a name without the dot at its end.
fn hostid(kind: &str, value: &str) -> String {
    let value = value.trim().to_ascii_lowercase();
    let value = match kind {
        "HOSTNAME" => value.trim_end_matches('.').to_owned(),
        _ => value.replace([':', '-'], ""),
    };
    format!("{kind}:{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_spelled_as_licenses_spell_it() {
        assert_eq!(hostid("ETHERNET", "00:1A:2B:3C:4D:5E"), "ETHERNET:001a2b3c4d5e");
        assert_eq!(hostid("MACHINE_ID", "0123-ABCD\n"), "MACHINE_ID:0123abcd");
        assert_eq!(hostid("HOSTNAME", "Lic-A.Example.com."), "HOSTNAME:lic-a.example.com");
    }
}
