//! `triad check`: the contract of monitoring plugins. One line, figures after a
//! bar, and an exit code of 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use triad_proto::v1::{NodeStatus, Pool, PoolState, StatusResponse};

use crate::args::watching::CheckArguments;
use crate::cluster::{Admin, Cluster};
use crate::concerns::{Concern, Severity};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::all_features;
use crate::settings::Settings;
use crate::text::last_day;
use crate::verdict::{Answer, Level, Verdict, best_view, is_cut_off, leads, statuses, verdict};

/// Causes that are told where nobody answers; the rest are many names for few troubles.
const CAUSES_MAX: usize = 3;
/// Of each. A pager shows a line or two.
const CAUSE_CHARACTERS_MAX: usize = 120;

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
    let checked = match arguments.warning > arguments.critical {
        true => Err(Failure::Usage {
            what: format!(
                "--warning {} is above --critical {}, so nothing would be a warning",
                arguments.warning, arguments.critical
            ),
            remedy: "give the lower number to --warning".to_owned(),
        }),
        false => checked(settings, arguments).await,
    };
    let (line, exit) = match checked {
        Ok((state, line)) => {
            let line = one_line(&format!("TRIAD {} - {line}", state.word())) + "\n";
            (line, Exit::Plugin(state as u8))
        }
        Err(failure) => (unknown(&failure.to_string()), UNKNOWN),
    };
    settings.output.text(&line)?;
    Ok(exit)
}

/// How a check ends that could not be made.
pub const UNKNOWN: Exit = Exit::Plugin(3);

/// The line of such a check, and why. Monitors read nothing else.
pub fn unknown(why: &str) -> String {
    one_line(&format!("TRIAD UNKNOWN - {why}")) + "\n"
}

/// The line for a command line that is not understood, as clap says why.
pub fn misunderstood(error: &str) -> String {
    let why = error.lines().next().unwrap_or_default();
    unknown(why.strip_prefix("error: ").unwrap_or(why))
}

async fn checked(
    settings: &Settings,
    arguments: &CheckArguments,
) -> Result<(State, String), Failure> {
    let mut cluster = Cluster::new(settings)?;
    let answers = cluster.statuses().await;
    let verdict = verdict(&answers);
    let heard = statuses(&answers);
    let Some(view) = best_view(&heard) else {
        let line = format!("{}{}", words(&verdict, &[]), causes(&answers));
        return Ok((State::Critical, line));
    };
    let mut figures = figures(view, &heard);
    let mut state = of(&verdict);
    let mut found = Vec::new();
    if arguments.wants_features() && verdict.level != Level::NoQuorum {
        cluster.begin_anew();
        let read = cluster.read(async |admin: &mut Admin| all_features(admin, "").await).await?;
        found = seats(&read.answer.pools, arguments, &mut figures);
    }
    state = found.iter().map(|(state, _)| *state).fold(state, State::max);
    let found: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
    Ok((state, format!("{} | {figures}", words(&verdict, &found))))
}

/// Why nobody answers: each cause once, with the first address where it was met.
fn causes(answers: &[Answer]) -> String {
    let mut met: Vec<(&str, &str)> = Vec::new();
    for answer in answers {
        if let Err(cause) = &answer.outcome
            && met.iter().all(|(_, known)| known != cause)
        {
            met.push((&answer.address, cause));
        }
    }
    let mut text = String::new();
    for (address, cause) in met.iter().take(CAUSES_MAX) {
        // After a bar come figures.
        let cause = cause.replace('|', "/");
        let short: String = cause.chars().take(CAUSE_CHARACTERS_MAX).collect();
        let more = if short.len() < cause.len() { "..." } else { "" };
        let _ = write!(text, "; {address}: {short}{more}");
    }
    match met.len().saturating_sub(CAUSES_MAX) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// What the nodes are and hold, and how each of them does.
fn figures(view: &StatusResponse, heard: &[&StatusResponse]) -> String {
    let mut figures = format!(
        "nodes={};;;0;{} sessions={};;;0 checkouts={};;;0",
        heard.len(),
        view.nodes.len(),
        view.sessions,
        view.checkouts
    );
    for node in &view.nodes {
        let name = label(&node.name);
        // U is a figure that is not known, as plugins have it.
        let answers = heard.iter().any(|status| status.node_id == node.node_id);
        let lag = lag(view, node).filter(|_| answers).map_or("U".to_owned(), |lag| lag.to_string());
        let _ = write!(figures, " lag_{name}={lag};;;0");
        if let Some(skew_ms) = node.clock_skew_ms.filter(|_| answers) {
            let _ = write!(figures, " skew_{name}={skew_ms}ms");
        }
    }
    figures
}

/// How far a node trails; only the leader knows, and only of those it reaches.
fn lag(view: &StatusResponse, node: &NodeStatus) -> Option<u64> {
    let is_known = leads(view) && !is_cut_off(view, node) && node.matched_index > 0;
    is_known.then_some(node.lag)
}

fn of(verdict: &Verdict) -> State {
    match verdict.level {
        Level::Healthy => State::Ok,
        Level::Degraded => State::Warning,
        Level::NoQuorum | Level::Unreachable => State::Critical,
    }
}

/// Everything on one line: first why it is not OK, for pagers cut lines short.
fn words(verdict: &Verdict, seats: &[String]) -> String {
    let wrong = verdict.concerns.iter().filter(|concern| concern.severity >= Severity::Warn);
    let wrong: Vec<String> = wrong.map(Concern::line).collect();
    // The sentence ends with the worst of them where it would not be told otherwise.
    let mut sentence = verdict.sentence.as_str();
    for line in &wrong {
        let bare = sentence.strip_suffix(line.as_str()).and_then(|text| text.strip_suffix("; "));
        sentence = bare.unwrap_or(sentence);
    }
    let whole = match verdict.level {
        Level::Healthy if !seats.is_empty() => sentence.to_owned(),
        level => format!("{}: {sentence}", level.word()),
    };
    let causes = seats.iter().chain(&wrong).cloned();
    let parts: Vec<String> = match verdict.level {
        Level::NoQuorum | Level::Unreachable => [whole].into_iter().chain(causes).collect(),
        Level::Healthy | Level::Degraded => causes.chain([whole]).collect(),
    };
    parts.join("; ")
}

/// What is licensed of a feature now.
#[derive(Default)]
struct Licensed {
    /// Whether any right is in force.
    in_force: bool,
    /// Seats in use, and all, of the rights that are counted.
    used: u64,
    total: u64,
    /// When the last right that is over ended, ms since 1970 UTC; 0: none has.
    ended_ms: u64,
}

/// Whether the features are in force and how full they are, as wanted: what is
/// wrong, the worst first. Adds to the figures.
fn seats(pools: &[Pool], arguments: &CheckArguments, figures: &mut String) -> Vec<(State, String)> {
    let wanted = &arguments.features;
    let mut features: BTreeMap<&str, Licensed> =
        wanted.iter().map(|feature| (feature.as_str(), Licensed::default())).collect();
    for pool in pools.iter().filter(|p| wanted.is_empty() || wanted.contains(&p.feature)) {
        let feature = features.entry(&pool.feature).or_default();
        match pool.state() {
            PoolState::Valid => {
                feature.in_force = true;
                if !pool.uncounted {
                    feature.used += pool.seats_in_use;
                    feature.total += pool.seats_licensed;
                }
            }
            PoolState::Expired => feature.ended_ms = feature.ended_ms.max(pool.expires_ms),
            PoolState::Unspecified | PoolState::NotYetValid | PoolState::Withdrawn => {}
        }
    }
    let mut found = Vec::new();
    let is_none_in_force = features.values().all(|feature| !feature.in_force);
    for (name, Licensed { in_force, used, total, ended_ms }) in features {
        if !in_force {
            // What is not licensed and was not asked for is nobody's concern.
            if ended_ms > 0 {
                let day = last_day(ended_ms);
                found.push((State::Critical, format!("{name}: not licensed, last day {day}")));
            } else if !wanted.is_empty() {
                found.push((State::Critical, format!("{name}: not licensed")));
            }
            continue;
        }
        if total == 0 {
            continue;
        }
        let over = |percent: u32| used * 100 >= total * u64::from(percent);
        let at = |percent: u32| total * u64::from(percent) / 100;
        let (warning, critical) = (arguments.warning, arguments.critical);
        let _ = write!(
            figures,
            " seats_{}={used};{};{};0;{total}",
            label(name),
            at(warning),
            at(critical)
        );
        let state = match () {
            () if over(critical) => State::Critical,
            () if over(warning) => State::Warning,
            () => continue,
        };
        found.push((state, format!("{name}: {used} of {total} seats in use")));
    }
    if is_none_in_force && found.is_empty() {
        found.push((State::Warning, "no license is in force".to_owned()));
    }
    found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    found
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
    use crate::verdict::Ledgers;

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
            let found = seats(&pools, &arguments(wanted), &mut figures);
            (found, figures)
        };
        let solver = |used| format!(" seats_solver={used};32;38;0;40");
        let viewer = " seats_viewer=0;32;38;0;40";
        assert_eq!(judge(31, &[]), (Vec::new(), solver(31) + viewer));
        let warning = (State::Warning, "solver: 32 of 40 seats in use".to_owned());
        assert_eq!(judge(32, &[]).0, [warning]);
        let critical = (State::Critical, "solver: 38 of 40 seats in use".to_owned());
        assert_eq!(judge(38, &[]).0, [critical]);
        let (found, figures) = judge(40, &["viewer", "gone"]);
        assert_eq!(found, [(State::Critical, "gone: not licensed".to_owned())]);
        assert_eq!(figures, viewer);
    }

    #[test]
    fn a_feature_that_ended_is_missed_by_its_name() {
        let state = |feature: &str, state: PoolState| Pool {
            state: state.into(),
            expires_ms: 1_795_442_709_000,
            ..pool(feature, 40)
        };
        let pools = [
            state("mill", PoolState::Expired),
            state("lathe", PoolState::Expired),
            pool("lathe", 38),
            state("later", PoolState::NotYetValid),
            Pool { uncounted: true, ..pool("viewer", 1) },
        ];
        let judge = |wanted: &[&str]| seats(&pools, &arguments(wanted), &mut String::new());
        let mill = (State::Critical, "mill: not licensed, last day 2026-11-23".to_owned());
        let lathe = (State::Critical, "lathe: 38 of 40 seats in use".to_owned());
        assert_eq!(judge(&[]), [lathe, mill.clone()]);
        assert_eq!(judge(&["mill"]), [mill]);
        assert_eq!(judge(&["viewer"]), []);
        assert_eq!(judge(&["later"]), [(State::Critical, "later: not licensed".to_owned())]);
    }

    #[test]
    fn no_feature_in_force_is_no_health() {
        let judge = |pools: &[Pool]| seats(pools, &arguments(&[]), &mut String::new());
        let warning = [(State::Warning, "no license is in force".to_owned())];
        assert_eq!(judge(&[]), warning);
        let later = Pool { state: PoolState::NotYetValid.into(), ..pool("later", 0) };
        assert_eq!(judge(std::slice::from_ref(&later)), warning);
        assert_eq!(judge(&[later, pool("cad", 0)]), []);
    }

    #[test]
    fn where_nobody_answers_each_cause_is_told_once() {
        let met = |causes: &[&str]| {
            let answer = |(place, cause): (usize, &&str)| Answer {
                address: format!("lic-{place}:1"),
                outcome: Err((*cause).to_owned()),
            };
            causes.iter().enumerate().map(answer).collect::<Vec<_>>()
        };
        let told = causes(&met(&["refused", "refused", "no answer in time"]));
        assert_eq!(told, "; lic-0:1: refused; lic-2:1: no answer in time");
        let told = causes(&met(&["a", "b", "c|d", "e", "f"]));
        assert_eq!(told, "; lic-0:1: a; lic-1:1: b; lic-2:1: c/d; and 2 more");
        let long = causes(&met(&["x".repeat(9_000).as_str()]));
        assert!(long.len() < 150 && long.ends_with("xx..."), "{long}");
    }

    #[test]
    fn of_a_node_that_is_silent_no_clock_is_told() {
        let node = |node_id| NodeStatus {
            node_id,
            name: format!("n{node_id}"),
            reachable: true,
            matched_index: 9,
            clock_skew_ms: Some(4),
            ..NodeStatus::default()
        };
        let view = StatusResponse {
            node_id: 1,
            leader_id: 1,
            has_quorum: true,
            nodes: vec![node(1), node(2)],
            ..Default::default()
        };
        let told = figures(&view, &[&view]);
        assert!(told.ends_with(" lag_n1=0;;;0 skew_n1=4ms lag_n2=U;;;0"), "{told}");
    }

    fn judged(level: Level, sentence: &str, concerns: &[&str]) -> Verdict {
        let concern = |what: &&str| Concern {
            severity: Severity::Warn,
            about: "clocks",
            node: "b".into(),
            what: (*what).into(),
            remedy: String::new(),
        };
        Verdict {
            level,
            sentence: sentence.into(),
            ledgers: Ledgers::NotCompared,
            concerns: concerns.iter().map(concern).collect(),
        }
    }

    #[test]
    fn the_line_begins_with_the_cause() {
        let full = ["cad: 2 of 2 seats in use".to_owned()];
        let slow = ["its clock is 1 h slow"];
        for (verdict, seats, line) in [
            (judged(Level::Healthy, "3 of 3 nodes", &[]), &[][..], "Healthy: 3 of 3 nodes"),
            (
                judged(Level::Healthy, "3 of 3 nodes", &[]),
                &full,
                "cad: 2 of 2 seats in use; 3 of 3 nodes",
            ),
            (
                judged(Level::Degraded, "3 of 3 nodes; b: its clock is 1 h slow", &slow),
                &full,
                "cad: 2 of 2 seats in use; b: its clock is 1 h slow; Degraded: 3 of 3 nodes",
            ),
            (
                judged(Level::NoQuorum, "1 of 3 nodes answers", &slow),
                &[],
                "No quorum: 1 of 3 nodes answers; b: its clock is 1 h slow",
            ),
        ] {
            assert_eq!(words(&verdict, seats), line);
        }
    }

    #[test]
    fn the_lag_of_a_node_that_is_gone_is_not_known() {
        let node = |node_id, reachable, matched_index| NodeStatus {
            node_id,
            reachable,
            matched_index,
            lag: 9 - matched_index,
            ..NodeStatus::default()
        };
        let view =
            StatusResponse { node_id: 1, leader_id: 1, has_quorum: true, ..Default::default() };
        assert_eq!(lag(&view, &node(1, true, 9)), Some(0));
        assert_eq!(lag(&view, &node(2, true, 7)), Some(2));
        assert_eq!(lag(&view, &node(2, false, 7)), None);
        assert_eq!(lag(&view, &node(2, true, 0)), None);
        let of_follower = StatusResponse { leader_id: 2, ..view };
        assert_eq!(lag(&of_follower, &node(3, true, 9)), None);
    }

    #[test]
    fn whatever_prevents_a_check_is_one_line() {
        assert_eq!(unknown("bad\nargument"), "TRIAD UNKNOWN - bad\\nargument\n");
        let error = "error: unexpected argument '--bogus' found\n\nUsage: triad check\n";
        let line = "TRIAD UNKNOWN - unexpected argument '--bogus' found\n";
        assert_eq!(misunderstood(error), line);
    }
}
