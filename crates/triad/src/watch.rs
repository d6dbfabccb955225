//! `--watch`: the same question again and again, until Ctrl-C or until nobody
//! reads the answers any more.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::time::{Instant, sleep_until};

use crate::args::{OutputFormat, Verb};
use crate::dispatch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::signals::Signals;

/// The cursor home, and everything after it cleared.
const HOME: &str = "\x1b[H\x1b[J";

/// Asks, and asks again. Ends as the last answer did.
pub async fn run(
    settings: &Settings,
    verb: Verb,
    again: impl Fn() -> Option<Verb>,
    interval: Duration,
) -> Result<Exit, Failure> {
    if !verb.may_be_watched() {
        return Err(Failure::Usage {
            what: "this is not watched: it does something, or goes on by itself".to_owned(),
            remedy: "watch `status`, `check`, `doctor` or a list; follow `events --follow`"
                .to_owned(),
        });
    }
    let mut signals = Signals::listen()?;
    let is_screen = io::stdout().is_terminal() && settings.output.is_for_people();
    let mut verb = Some(verb);
    let mut ended = Ok(Exit::Ok);
    let mut is_first = true;
    while let Some(asked) = verb.take() {
        let next = Instant::now() + interval;
        if is_screen {
            settings.output.text(HOME)?;
        } else if !is_first && settings.output.format() == OutputFormat::Table {
            settings.output.text("\n")?;
        }
        is_first = false;
        tokio::select! {
            // A node that does not answer now may answer the next time.
            exit = dispatch(settings, asked) => match exit {
                Err(failure @ Failure::Usage { .. }) => return Err(failure),
                Err(failure) => {
                    settings.output.notice(&failure.render());
                    ended = Ok(failure.exit());
                }
                exit => ended = exit,
            },
            _ = signals.next() => return ended,
        }
        if nobody_reads() {
            return ended;
        }
        tokio::select! {
            () = sleep_until(next) => verb = again(),
            _ = signals.next() => return ended,
        }
    }
    ended
}

/// Whether the reader of a pipe has gone. That is no error.
fn nobody_reads() -> bool {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut stdout, Some(&Default::default()));
    polled.is_ok() && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}
