//! The examples that `--help` begins with, for commands that have none of their
//! own beside their arguments.

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::ArgValueCandidates;

use super::Arguments;
use crate::completing;

/// By the words after `triad`.
const EXAMPLES: [(&str, &str); 33] = [
    ("serve", "triad serve --config /etc/triad/triad.toml"),
    ("run", "triad run --feature solver --wait 10m -- ./solve model.inp"),
    ("checkout", "triad checkout solver --seats 2"),
    ("status", "triad status\n  triad status -o json | jq .verdict\n  triad status --watch"),
    (
        "features",
        "triad features\n  triad features solver -o wide\n  triad features --columns feature,in_use,free",
    ),
    ("sessions", "triad sessions\n  triad sessions -o csv"),
    ("checkouts list", "triad checkouts list --feature solver"),
    ("queue", "triad queue --feature solver --watch"),
    ("borrow list", "triad borrow list --feature solver"),
    ("audit verify", "triad audit verify"),
    ("policy show", "triad policy show > policy.toml"),
    ("license list", "triad license list"),
    ("node list", "triad node list -o wide"),
    ("leader transfer", "triad leader transfer\n  triad leader transfer --to lic-b"),
    ("borrow verify", "triad borrow verify solver.borrow"),
    ("license show", "triad license show acme.lic"),
    ("license verify", "triad license verify acme.lic --key acme/publisher.public"),
    ("license keygen", "triad license keygen --out acme"),
    ("license issue", "triad license issue --key acme/publisher.secret terms.toml --out acme.lic"),
    ("capability apply", "triad capability apply response.txt"),
    ("node promote", "triad node promote lic-b"),
    ("token list", "triad token list"),
    ("hostid", "triad hostid -o json"),
    ("report", "triad report peak --since 30d"),
    ("policy", "triad policy check policy.toml"),
    ("license", "triad license apply acme.lic --dry-run"),
    ("node", "triad node list"),
    ("token", "triad token list"),
    ("cert", "triad cert show --dir cluster"),
    ("cert show", "triad cert show --dir cluster"),
    ("snapshot", "triad snapshot save monday.snapshot"),
    ("snapshot save", "triad snapshot save monday.snapshot"),
    ("config", "triad config view --show-origin"),
];

/// The command line, each command of it with examples.
pub fn command() -> Command {
    with_examples(Arguments::command(), "")
}

fn with_examples(command: Command, path: &str) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let mut command = command.mut_args(|argument| completed(argument, path));
    for name in names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |sub| with_examples(sub, path.trim_start()));
    }
    let example = EXAMPLES.iter().find(|(of, _)| *of == path);
    match (command.get_before_help().is_some(), example) {
        (false, Some((_, lines))) => command.before_help(format!("Examples:\n  {lines}")),
        _ => command,
    }
}

/// What a shell may offer for an argument: names that the cluster knows.
fn completed(argument: Arg, path: &str) -> Arg {
    match argument.get_id().as_str() {
        "feature" | "features" => argument.add(ArgValueCandidates::new(completing::features)),
        "only" if path == "features" => argument.add(ArgValueCandidates::new(completing::features)),
        "topic" => argument.add(ArgValueCandidates::new(completing::topics)),
        "name" if path == "config use" || path == "config remove" => {
            argument.add(ArgValueCandidates::new(completing::contexts))
        }
        "context" => argument.add(ArgValueCandidates::new(completing::contexts)),
        "id" if path == "token revoke" => argument.add(ArgValueCandidates::new(completing::tokens)),
        "id" if path == "checkouts revoke" => {
            argument.add(ArgValueCandidates::new(completing::checkouts))
        }
        "id" | "what" if path.starts_with("borrow ") => {
            argument.add(ArgValueCandidates::new(completing::loans))
        }
        // The name of a node that is yet to be is the user's to choose.
        "node" | "to" if !path.ends_with("add") && path != "init" => {
            argument.add(ArgValueCandidates::new(completing::nodes))
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, path: &str, found: &mut Vec<(String, bool)>) {
        let subs: Vec<&Command> = command.get_subcommands().collect();
        if subs.is_empty() {
            let help = command.get_before_help().map(ToString::to_string).unwrap_or_default();
            found.push((path.to_owned(), help.starts_with("Examples:\n  triad ")));
        }
        for sub in subs {
            leaves(sub, format!("{path} {}", sub.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_begins_with_examples() {
        let mut found = Vec::new();
        leaves(&command(), "", &mut found);
        let without: Vec<_> = found.iter().filter(|(_, has)| !has).map(|(path, _)| path).collect();
        assert!(found.len() > 40 && without.is_empty(), "{without:?}");
    }

    #[test]
    fn what_the_examples_say_is_understood() {
        for (path, lines) in EXAMPLES {
            for line in lines.lines() {
                let line = line.split(['|', '>']).next().unwrap_or_default();
                let parsed = command().try_get_matches_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{path}: {line}");
            }
        }
    }

    #[test]
    fn a_word_that_is_nearly_right_is_recognised() {
        let error = command().try_get_matches_from(["triad", "statsu"]).unwrap_err().to_string();
        assert!(
            error.contains("similar subcommands exist") && error.contains("'status'"),
            "{error}"
        );
    }
}
