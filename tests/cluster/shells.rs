//! Completions in the shells themselves: each reads the script that `triad
//! completions` prints, and is asked to complete a line as a user types it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use triad_tests::cluster::FEATURE;
use triad_tests::node::run;
use triad_tests::program::triad;
use triad_tests::skip::skip;
use triad_tests::{Cluster, Options};

const LIMIT: Duration = Duration::from_secs(30);

/// A shell that runs `script`, with this cluster's environment and our `triad`.
fn shell(cluster: &Cluster, home: &Path, words: &[&str], script: &str) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(script).kill_on_drop(true);
    for (name, value) in cluster.command("").as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let own = triad().parent().expect("a program stands in a directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(own.to_owned()).chain(std::env::split_paths(&path)));
    command.env("PATH", path.unwrap()).env("HOME", home).env("TERM", "xterm");
    command
}

/// The first words of the lines, which in some shells go on with an explanation.
fn candidates(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

#[tokio::test]
async fn bash_fish_and_zsh_complete_what_the_cluster_has() {
    let is_missing =
        |shell: &&str| std::process::Command::new(shell).arg("--version").output().is_err();
    let missing: Vec<_> = ["bash", "fish", "zsh"].into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        return skip(&format!("{} not there (tests/setup.sh)", missing.join(", ")));
    }
    let features = vec![(FEATURE.into(), 3), ("viewer".into(), 1)];
    let cluster = Cluster::start(Options { features, ..Options::default() }).await;
    cluster.settled().await;
    let home = tempfile::tempdir().unwrap();
    let solver = BTreeSet::from([FEATURE]);
    let nodes = BTreeSet::from(["a", "b", "c"]);
    let lines = [
        ("triad features so", &solver),
        ("triad leader transfer --to ", &nodes),
        ("triad stat", &BTreeSet::from(["status"])),
    ];
    for (line, expected) in lines {
        let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source <(triad completions bash); COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
             _clap_complete_triad triad {} ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
        );
        let bash = shell(&cluster, home.path(), &["bash", "--norc", "-c"], &script);
        let told = run(bash, LIMIT).await;
        assert_eq!(&candidates(&told.stdout), expected, "bash, {line}: {told:?}");

        let script = format!("triad completions fish | source; complete -C '{line}'");
        let fish = shell(&cluster, home.path(), &["fish", "--no-config", "-c"], &script);
        let told = run(fish, LIMIT).await;
        assert_eq!(&candidates(&told.stdout), expected, "fish, {line}: {told:?}");
    }

    // Completion in zsh is a part of its line editor, which wants a terminal.
    for (line, whole) in [("triad features so", "solver"), ("triad stat", "status")] {
        let script = format!(
            "zmodload zsh/zpty; zpty shell zsh -f -i\n\
             zpty -w shell 'autoload -Uz compinit && compinit -u -D; \
             source <(triad completions zsh); print so\"urced\"'\n\
             zpty -r shell seen '*sourced*'\n\
             zpty -w -n shell $'{line}\\t'\n\
             zpty -r shell seen '*{whole}*'\n\
             print -r -- $seen\n"
        );
        let zsh = shell(&cluster, home.path(), &["zsh", "-f", "-c"], &script);
        let told = run(zsh, LIMIT).await;
        assert!(told.stdout.contains(whole), "zsh, {line}: {told:?}");
    }
}
