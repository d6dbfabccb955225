//! Who runs this command and where, as the client library claims it too.

/// The user.
pub fn user() -> String {
    triad_proto::machine::user_name()
}

/// The host.
pub fn host() -> String {
    triad_proto::machine::host_name()
}
