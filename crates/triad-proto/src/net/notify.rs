//! What a service manager is told of this process: that it is ready, reloads,
//! stops, and is alive. The protocol of systemd's `sd_notify`: lines of text in a
//! datagram to the socket that `NOTIFY_SOCKET` names.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager that started this process, or nobody.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Whoever the environment names. A manager that cannot be reached is an error:
    /// it waits for a word that would never come.
    ///
    /// # Errors
    ///
    /// The socket that is named cannot be used.
    pub fn from_environment() -> io::Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let own = u64::from(std::process::id());
        let is_ours = number("WATCHDOG_PID").is_none_or(|process| process == own);
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        Self::new(variable("NOTIFY_SOCKET"), watchdog.map(Duration::from_micros))
    }

    /// The manager that listens at `socket`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(socket) = socket else { return Ok(ServiceManager::default()) };
        let datagram = UnixDatagram::unbound()?;
        match socket.to_str().and_then(|text| text.strip_prefix('@')) {
            Some(name) => datagram.connect_addr(&abstract_address(name)?)?,
            None => datagram.connect(&socket)?,
        }
        // A manager that does not read must not stop us.
        datagram.set_nonblocking(true)?;
        Ok(ServiceManager { socket: Some(datagram), watchdog })
    }

    /// Tells it some lines, such as `READY=1`.
    pub fn tell(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            tracing::warn!(%error, lines, "the service manager could not be told");
        }
    }

    /// How often it wants to hear `WATCHDOG=1`: twice within its patience.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|patience| patience / 2)
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    let what = format!("@{name}: this system has no abstract sockets");
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = listener.recv(&mut bytes).expect("somebody told us");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_manager_at_a_path_hears_every_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("a free path");
        let patience = Some(Duration::from_secs(10));
        let manager = ServiceManager::new(Some(path.into()), patience).expect("it listens");
        manager.tell("READY=1\nSTATUS=serving");
        manager.tell("WATCHDOG=1");
        assert_eq!(heard(&listener), "READY=1\nSTATUS=serving");
        assert_eq!(heard(&listener), "WATCHDOG=1");
        assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(5)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_with_an_abstract_name_hears_too() {
        let name = format!("triad-notify-test-{}", std::process::id());
        let address = abstract_address(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("a free name");
        let manager = ServiceManager::new(Some(format!("@{name}").into()), None).expect("it is");
        manager.tell("STOPPING=1");
        assert_eq!(heard(&listener), "STOPPING=1");
        assert_eq!(manager.watchdog_interval(), None);
    }

    #[test]
    fn nobody_is_told_nothing_and_a_manager_that_is_not_there_is_an_error() {
        let nobody = ServiceManager::new(None, Some(Duration::from_secs(1))).expect("nobody");
        nobody.tell("READY=1");
        assert_eq!(nobody.watchdog_interval(), None);
        assert!(ServiceManager::new(Some("/nowhere/notify".into()), None).is_err());
    }
}
