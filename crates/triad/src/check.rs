//! `triad check`: the contract of monitoring plugins. One line, figures after a
//! bar, and an exit code of 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN).

use std::fmt::Write as _;

use triad_proto::v1::{Pool, PoolState};

use crate::args::watching::CheckArguments;
use crate::cluster::{Admin, Cluster};
use crate::concerns::Severity;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::all_features;
use crate::settings::Settings;
use crate::verdict::{Level, Verdict, best_view, statuses, verdict};

/// How a plugin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warning,
    Critical,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
        }
    }
}

/// Checks once. What prevents the check is UNKNOWN, and said on the same line.
pub async fn run(settings: &Settings, arguments: &CheckArguments) -> Result<Exit, Failure> {
    let (line, code) = match checked(settings, arguments).await {
        Ok((state, line)) => (format!("TRIAD {} - {line}", state.word()), state as u8),
        Err(failure) => (format!("TRIAD UNKNOWN - {failure}"), UNKNOWN),
    };
    settings.output.text(&(one_line(&line) + "\n"))?;
    Ok(Exit::Plugin(code))
}

/// The code of a check that could not be made.
pub const UNKNOWN: u8 = 3;

async fn checked(
    settings: &Settings,
    arguments: &CheckArguments,
) -> Result<(State, String), Failure> {
    let mut cluster = Cluster::new(settings)?;
    let answers = cluster.statuses().await;
    let verdict = verdict(&answers);
    let heard = statuses(&answers);
    let Some(view) = best_view(&heard) else {
        return Ok((State::Critical, words(&verdict)));
    };
    let mut figures = format!(
        "nodes={};;;0;{} sessions={};;;0 checkouts={};;;0",
        heard.len(),
        view.nodes.len(),
        view.sessions,
        view.checkouts
    );
    for node in &view.nodes {
        let name = label(&node.name);
        let _ = write!(figures, " lag_{name}={};;;0", node.lag);
        if let Some(skew_ms) = node.clock_skew_ms {
            let _ = write!(figures, " skew_{name}={skew_ms}ms");
        }
    }
    let mut state = of(&verdict);
    let mut text = words(&verdict);
    if arguments.wants_features() && verdict.level != Level::NoQuorum {
        cluster.begin_anew();
        let read = cluster.read(async |admin: &mut Admin| all_features(admin, "").await).await?;
        let (worst, more) = seats(&read.answer.pools, arguments, &mut figures);
        state = state.max(worst);
        text.push_str(&more);
    }
    Ok((state, format!("{text} | {figures}")))
}

fn of(verdict: &Verdict) -> State {
    match verdict.level {
        Level::Healthy => State::Ok,
        Level::Degraded => State::Warning,
        Level::NoQuorum | Level::Unreachable => State::Critical,
    }
}

/// The verdict on one line, with what is wrong besides.
fn words(verdict: &Verdict) -> String {
    let mut text = format!("{}: {}", verdict.level.word(), verdict.sentence);
    for concern in verdict.concerns.iter().filter(|c| c.severity >= Severity::Warn) {
        let line = concern.line();
        if !verdict.sentence.contains(&line) {
            let _ = write!(text, "; {line}");
        }
    }
    text
}

/// How full the features are, as wanted; adds to the figures.
fn seats(pools: &[Pool], arguments: &CheckArguments, figures: &mut String) -> (State, String) {
    let mut features: std::collections::BTreeMap<&str, (u64, u64)> = Default::default();
    let valid = |pool: &&Pool| pool.state() == PoolState::Valid && !pool.uncounted;
    for pool in pools.iter().filter(valid) {
        let wanted = &arguments.features;
        if wanted.is_empty() || wanted.contains(&pool.feature) {
            let (used, total) = features.entry(&pool.feature).or_default();
            *used += pool.seats_in_use;
            *total += pool.seats_licensed;
        }
    }
    let mut state = State::Ok;
    let mut text = String::new();
    for missing in arguments.features.iter().filter(|f| !features.contains_key(f.as_str())) {
        state = State::Critical;
        let _ = write!(text, "; {missing}: not licensed");
    }
    for (feature, (used, total)) in features {
        let over = |percent: u32| total > 0 && used * 100 >= total * u64::from(percent);
        let at = |percent: u32| total * u64::from(percent) / 100;
        let (warning, critical) = (arguments.warning, arguments.critical);
        let _ = write!(
            figures,
            " seats_{}={used};{};{};0;{total}",
            label(feature),
            at(warning),
            at(critical)
        );
        let found = match () {
            () if over(critical) => State::Critical,
            () if over(warning) => State::Warning,
            () => continue,
        };
        state = state.max(found);
        let _ = write!(text, "; {feature}: {used} of {total} seats in use");
    }
    (state, text)
}

/// A name in the figures: no quotes, blanks or equal signs.
fn label(name: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    name.chars().map(good).collect()
}

/// A plugin's answer is one line; what it quotes may try to be more.
fn one_line(text: &str) -> String {
    crate::text::escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(features: &[&str]) -> CheckArguments {
        CheckArguments {
            features: features.iter().map(ToString::to_string).collect(),
            all_features: features.is_empty(),
            warning: 80,
            critical: 95,
        }
    }

    fn pool(feature: &str, seats_in_use: u64) -> Pool {
        Pool {
            feature: feature.into(),
            seats_licensed: 40,
            seats_in_use,
            state: PoolState::Valid.into(),
            ..Pool::default()
        }
    }

    #[test]
    fn features_are_judged_by_how_full_they_are() {
        let judge = |used, wanted: &[&str]| {
            let mut figures = String::new();
            let pools = [pool("solver", used), pool("viewer", 0)];
            let (state, text) = seats(&pools, &arguments(wanted), &mut figures);
            (state, text, figures)
        };
        let solver = |used| format!(" seats_solver={used};32;38;0;40");
        let viewer = " seats_viewer=0;32;38;0;40";
        assert_eq!(judge(31, &[]), (State::Ok, String::new(), solver(31) + viewer));
        let (state, text, _) = judge(32, &[]);
        assert_eq!((state, text.as_str()), (State::Warning, "; solver: 32 of 40 seats in use"));
        assert_eq!(judge(38, &[]).0, State::Critical);
        let (state, text, figures) = judge(40, &["viewer", "gone"]);
        assert_eq!((state, text.as_str()), (State::Critical, "; gone: not licensed"));
        assert_eq!(figures, viewer);
    }
}
