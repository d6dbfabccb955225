//! Who runs this command and where, as the client library claims it too.

/// The user.
pub fn user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"].map(|name| std::env::var(name).ok());
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("unknown".to_owned())
}

/// The host.
pub fn host() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
