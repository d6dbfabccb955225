//! The signals that end a command, and handing them on to a child.

use std::future::Future;
use std::io::{self, IsTerminal as _};

use rustix::process::{Pid, kill_process};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;

/// A signal that asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT, as by Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal has gone.
    Hangup,
    /// SIGKILL, only ever sent.
    Kill,
}

/// Hears SIGINT and SIGTERM, from when it is made.
pub struct Signals {
    interrupt: Listener,
    terminate: Listener,
}

/// Works until that is done, or until this process is asked to end. Then whatever the work
/// holds is dropped: nodes and folders of its own, which else would be left behind.
pub async fn unless_ended(
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut hangup = listen(SignalKind::hangup())?;
    let ending = tokio::select! {
        done = work => return done,
        ending = signals.next() => ending,
        _ = hangup.recv() => Ending::Hangup,
    };
    Ok(ending.exit())
}

fn listen(kind: SignalKind) -> Result<Listener, Failure> {
    signal(kind).map_err(|source| Failure::System { what: "cannot listen for signals", source })
}

impl Signals {
    /// Begins to listen. From now on the signals do not end the process.
    pub fn listen() -> Result<Self, Failure> {
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Signals { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupt,
            _ = self.terminate.recv() => Ending::Terminate,
        }
    }
}

impl Ending {
    /// How a process ends that gives in to it.
    pub fn exit(self) -> Exit {
        Exit::Child(128 + self.signal().as_raw() as u8)
    }

    /// Sends it to a child. A child that is gone needs none.
    pub fn send_to(self, pid: u32) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, self.signal());
        }
    }

    /// Whether the child got it anyway: a terminal sends Ctrl-C to everybody
    /// in the foreground, and many programs take a second one for "at once".
    pub fn child_has_it(self) -> bool {
        self == Ending::Interrupt && io::stdin().is_terminal()
    }

    fn signal(self) -> rustix::process::Signal {
        match self {
            Ending::Interrupt => rustix::process::Signal::INT,
            Ending::Terminate => rustix::process::Signal::TERM,
            Ending::Hangup => rustix::process::Signal::HUP,
            Ending::Kill => rustix::process::Signal::KILL,
        }
    }
}
