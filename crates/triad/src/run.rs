//! `triad run`: a command that runs while a seat is held.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use triad_proto::v1::{Reason, Refusal};

use crate::args::RunArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding::Holding;
use crate::loan;
use crate::settings::Settings;
use crate::signals::{Ending, Signals};

/// How long a command may take to end itself after its seat was lost.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Takes a seat, runs the command, gives the seat back.
pub async fn run(settings: &Settings, arguments: &RunArguments) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    if let Some(token) = &arguments.borrowed {
        return run_borrowed(settings, arguments, token, &mut signals).await;
    }
    let (feature, seats, wait) = (&arguments.feature, &arguments.seats, arguments.wait);
    let taking = Holding::take(settings, feature, seats, wait, "triad run");
    let mut holding = tokio::select! {
        taken = taking => taken?,
        signal = signals.next() => return Ok(signal.exit()),
    };
    let ended = match start(arguments) {
        Ok(child) => accompany(child, &mut holding, &mut signals, settings, arguments).await,
        Err(failure) => Err(failure),
    };
    holding.give_back().await;
    ended
}

/// Runs the command on the strength of a borrow token; no server is asked.
async fn run_borrowed(
    settings: &Settings,
    arguments: &RunArguments,
    token: &Path,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let terms = loan::verified(settings, token)?;
    let (feature, wanted) = (arguments.feature.as_str(), arguments.seats.seats);
    let has = |item: &triad_client::GrantedItem| item.feature == feature && item.seats >= wanted;
    if !terms.items.iter().any(has) {
        let message = format!("{feature}: {} is not a token for {wanted} of it", token.display());
        return Err(Failure::refused(Refusal::because(Reason::NotBorrowed, message)));
    }
    let mut child = start(arguments)?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let failed = |source| Failure::System { what: "cannot wait for the command", source };
                return Ok(Exit::Child(exit_code(status.map_err(failed)?)));
            }
            signal = signals.next() => {
                if let Some(pid) = child.id() && !signal.child_has_it() {
                    signal.send_to(pid);
                }
            }
        }
    }
}

fn start(arguments: &RunArguments) -> Result<Child, Failure> {
    let (program, rest) =
        arguments.command.split_first().expect("the command line demands a command");
    // Not killed with this process: what it computes is worth more than the
    // seat, which returns by itself.
    Command::new(program).args(rest).kill_on_drop(false).spawn().map_err(|source| Failure::Spawn {
        program: program.to_string_lossy().into_owned(),
        source,
    })
}

/// Waits for the child, hands signals on, and tells of a lost seat.
async fn accompany(
    mut child: Child,
    holding: &mut Holding,
    signals: &mut Signals,
    settings: &Settings,
    arguments: &RunArguments,
) -> Result<Exit, Failure> {
    let mut seat_is_held = true;
    let mut kill_at = None;
    loop {
        tokio::select! {
            status = child.wait() => {
                let failed = |source| Failure::System { what: "cannot wait for the command", source };
                return Ok(Exit::Child(exit_code(status.map_err(failed)?)));
            }
            signal = signals.next() => {
                if let Some(pid) = child.id() && !signal.child_has_it() {
                    signal.send_to(pid);
                }
            }
            lost = holding.lost(), if seat_is_held => {
                seat_is_held = false;
                let consequence = match arguments.kill_on_lost {
                    true => "the command is ended",
                    false => "the command goes on WITHOUT it",
                };
                settings.output.warn(&format!("{lost}; {consequence}"));
                if let Some(pid) = child.id() && arguments.kill_on_lost {
                    Ending::Terminate.send_to(pid);
                    kill_at = Some(tokio::time::Instant::now() + KILL_GRACE);
                }
            }
            () = reached(kill_at) => {
                kill_at = None;
                if let Some(pid) = child.id() {
                    Ending::Kill.send_to(pid);
                }
            }
        }
    }
}

async fn reached(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The child's code; 128 + n after signal n, as in a shell.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_childs_own() {
        for (wait_status, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(wait_status)), code);
        }
    }
}
