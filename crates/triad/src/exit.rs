//! The exit codes of `triad`: what scripts decide by.

/// How the command ended. `triad run` passes on the code of its child and
/// uses these only for its own failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; for `status`, healthy.
    Ok,
    /// 1: anything that has no code of its own.
    Error,
    /// 2: the command line or the environment is not understood.
    Usage,
    /// 3: `status`: seats are granted, but a node is missing or wrong.
    Degraded,
    /// 4: no leader that a quorum follows: nothing is granted or changed.
    NoQuorum,
    /// 5: no node answered in time.
    Unreachable,
    /// 6: denied: every seat is in use. Trying again later helps.
    NoSeat,
    /// 7: denied: not licensed like that. Trying again later does not help.
    NotEntitled,
    /// What the callers of `lmutil` know an error by: 256 - n for error -n.
    Lmutil(u8),
    /// What monitoring plugins end with: 0 to 3.
    Plugin(u8),
    /// What the child of `triad run` ended with; 128 + n after signal n, 126
    /// and 127 when it could not be started, as in a shell.
    Child(u8),
}

impl Exit {
    /// How `lmutil` ends with an error of this number, such as -15: with 241.
    pub fn lmutil(number: i32) -> Self {
        let code = u8::try_from(number.rem_euclid(256)).unwrap_or(1);
        if code == 0 { Exit::Error } else { Exit::Lmutil(code) }
    }

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
            Exit::NoQuorum => 4,
            Exit::Unreachable => 5,
            Exit::NoSeat => 6,
            Exit::NotEntitled => 7,
            Exit::Lmutil(code) | Exit::Plugin(code) | Exit::Child(code) => code,
        }
    }
}
