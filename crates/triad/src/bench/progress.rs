//! A line on stderr that shows how far a part is, where somebody looks: on a
//! terminal alone.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::output::Output;

/// Often enough to look alive, seldom enough not to be measured.
const INTERVAL: Duration = Duration::from_millis(250);
const WIDTH: usize = 30;

/// How far something is.
pub enum Goal {
    /// So many of them are wanted.
    Count(u64, Arc<AtomicU64>),
    /// It takes so long from now.
    Time(Duration),
}

/// Shown until it is dropped.
pub struct Progress {
    output: Output,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show it.
    pub fn begin(output: Output, what: String, goal: Goal) -> Self {
        if !io::stderr().is_terminal() {
            return Progress { output, drawing: None };
        }
        let began = Instant::now();
        let drawing = tokio::spawn(async move {
            let mut ticks = interval(INTERVAL);
            loop {
                ticks.tick().await;
                output.notice(&format!("\r\x1b[K{}", line(&what, &goal, began.elapsed())));
            }
        });
        Progress { output, drawing: Some(drawing) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawing) = self.drawing.take() {
            drawing.abort();
            self.output.notice("\r\x1b[K");
        }
    }
}

fn line(what: &str, goal: &Goal, elapsed: Duration) -> String {
    let (share, told) = match goal {
        Goal::Count(wanted, done) => {
            let done = done.load(Ordering::Relaxed).min(*wanted);
            (done as f64 / (*wanted).max(1) as f64, format!("{done} of {wanted}"))
        }
        Goal::Time(whole) => {
            let share = elapsed.as_secs_f64() / whole.as_secs_f64().max(0.001);
            (
                share.min(1.0),
                format!("{:.0} of {:.0} s", elapsed.as_secs_f64(), whole.as_secs_f64()),
            )
        }
    };
    let full = (share * WIDTH as f64) as usize;
    format!("{what}  [{}{}] {told}", "#".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_the_share_that_is_done() {
        let counted = Goal::Count(10, Arc::new(AtomicU64::new(5)));
        let expected = format!("x  [{}{}] 5 of 10", "#".repeat(15), " ".repeat(15));
        assert_eq!(line("x", &counted, Duration::ZERO), expected);
        let timed = Goal::Time(Duration::from_secs(2));
        let expected = format!("x  [{}] 9 of 2 s", "#".repeat(30));
        assert_eq!(line("x", &timed, Duration::from_secs(9)), expected);
    }
}
