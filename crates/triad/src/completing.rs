//! Completions: the shell asks this program what may stand where the cursor is.
//! Names and numbers of what it has are asked of the cluster, for as long as somebody
//! who pressed a key will wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Parser as _;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use triad_proto::v1::{CheckoutInfo, ListTokensRequest, Reason, StatusRequest};

use crate::args::{Arguments, examples};
use crate::checkouts::{all_checkouts, in_words, is_away};
use crate::cluster::{Admin, Cluster};
use crate::context::{self, Contexts};
use crate::failure::Failure;
use crate::lists::all_features;
use crate::reasons::explanation;
use crate::settings::Settings;
use crate::text::printable;

/// The variable by which a shell says that it wants completions.
const VARIABLE: &str = "TRIAD_COMPLETE";
/// Whoever pressed a key waits no longer.
const PATIENCE: Duration = Duration::from_millis(700);

/// Answers and ends, if it is a shell that asks.
pub fn answer_the_shell() {
    CompleteEnv::with_factory(examples::command).var(VARIABLE).complete();
}

/// What a shell is to run to complete.
pub fn script(shell: clap_complete::Shell) -> Result<String, Failure> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let unknown = || Failure::Usage {
        what: format!("there are no completions for {name}"),
        remedy: "there are some for bash, elvish, fish, powershell and zsh".to_owned(),
    };
    let completer = shells.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    let written = completer.write_registration(VARIABLE, "triad", "triad", "triad", &mut script);
    written.map_err(|source| Failure::System { what: "cannot write the script", source })?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// The features that are licensed.
pub fn features() -> Vec<CompletionCandidate> {
    asked(async |settings: &Settings| {
        let read = Cluster::new(settings)?
            .read(async |admin: &mut Admin| all_features(admin, "").await)
            .await?;
        Ok(read.answer.pools.into_iter().map(|pool| pool.feature).collect())
    })
}

/// The nodes of the cluster.
pub fn nodes() -> Vec<CompletionCandidate> {
    asked(async |settings: &Settings| {
        let read = Cluster::new(settings)?
            .read(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
            .await?;
        Ok(read.answer.nodes.into_iter().map(|node| node.name).collect())
    })
}

/// What `triad explain` explains: the features that are licensed, and the codes.
pub fn topics() -> Vec<CompletionCandidate> {
    let code = |reason: &Reason| {
        let meaning = explanation(*reason).meaning;
        CompletionCandidate::new(reason.trd_code()).help(Some(meaning.into()))
    };
    features().into_iter().chain(Reason::ALL.iter().map(code)).collect()
}

/// The user's contexts.
pub fn contexts() -> Vec<CompletionCandidate> {
    let contexts = context::file().map(|file| Contexts::read(&file));
    let contexts = contexts.and_then(Result::ok).unwrap_or_default();
    contexts.by_name.into_keys().map(CompletionCandidate::new).collect()
}

/// The administrators' tokens, by id; whose they are is beside it.
pub fn tokens() -> Vec<CompletionCandidate> {
    told(async |settings: &Settings| {
        let read = Cluster::new(settings)?
            .read(async |admin: &mut Admin| {
                Ok(admin.list_tokens(ListTokensRequest {}).await?.into_inner())
            })
            .await?;
        let tokens = read.answer.tokens.into_iter();
        Ok(tokens.map(|token| (token.token_id, printable(&token.label))).collect())
    })
}

/// What is held, by number; what it is and who holds it is beside it.
pub fn checkouts() -> Vec<CompletionCandidate> {
    held(|_| true)
}

/// What is borrowed, in the same way.
pub fn loans() -> Vec<CompletionCandidate> {
    held(|checkout| is_away(checkout.state()))
}

fn held(is_wanted: impl Fn(&CheckoutInfo) -> bool) -> Vec<CompletionCandidate> {
    told(async |settings: &Settings| {
        let read = Cluster::new(settings)?
            .read(async |admin: &mut Admin| all_checkouts(admin, "").await)
            .await?;
        let checkouts = read.answer.checkouts.into_iter().filter(|checkout| is_wanted(checkout));
        let named =
            checkouts.map(|checkout| (checkout.checkout_id.to_string(), in_words(&checkout)));
        Ok(named.collect())
    })
}

/// Nothing, where nobody answers: a completion is no place for an error.
fn asked(
    ask: impl AsyncFn(&Settings) -> Result<BTreeSet<String>, Failure>,
) -> Vec<CompletionCandidate> {
    told(async |settings: &Settings| {
        Ok(ask(settings).await?.into_iter().map(|name| (name, String::new())).collect())
    })
}

/// The same with a word beside each.
fn told(
    ask: impl AsyncFn(&Settings) -> Result<BTreeMap<String, String>, Failure>,
) -> Vec<CompletionCandidate> {
    // The cluster of the environment and of the context; the line is not yet whole.
    let Ok(arguments) = Arguments::try_parse_from(["triad", "status"]) else { return Vec::new() };
    let settings = Settings::new(arguments.global, BTreeSet::new()).with_timeout(PATIENCE).quiet();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let names = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&settings)).await });
    runtime.shutdown_background();
    let names = names.ok().and_then(Result::ok).unwrap_or_default();
    let candidate = |(name, beside): (String, String)| {
        let help = (!beside.is_empty()).then(|| beside.into());
        CompletionCandidate::new(name).help(help)
    };
    names.into_iter().map(candidate).collect()
}
