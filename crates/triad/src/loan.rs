//! `triad borrow take`, `return`, `verify`: seats of this machine's own, for a
//! time without a server.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use triad_client::{BorrowEnd, BorrowTerms, Borrowed, Client, Item, read_token, verify_borrowed};
use triad_proto::v1::{Grant, Reason, Refusal};

use crate::args::seats::{LoanSource, ReturnArguments, TakeArguments, VerifyArguments};
use crate::clock;
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding::{client, close, failure};
use crate::publisher::{Readers, write_new};
use crate::settings::Settings;
use crate::text::{counted, instant, printable};

/// Borrows seats and keeps their token in a file.
pub async fn take(settings: &Settings, arguments: &TakeArguments) -> Result<Exit, Failure> {
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}.borrow", arguments.feature)),
    };
    // Before anything is lent: a token that cannot be kept is a seat lost.
    if out.symlink_metadata().is_ok() {
        return Err(Failure::Exists(out));
    }
    let client = client(settings, "triad borrow")?;
    let item = Item {
        feature: arguments.feature.clone(),
        version: arguments.seats.version.clone(),
        seats: arguments.seats.seats,
    };
    let end = match (arguments.period, arguments.until) {
        (Some(period), _) => BorrowEnd::For(period),
        (None, Some(until)) => {
            BorrowEnd::Until(UNIX_EPOCH + Duration::from_millis(until.at_ms(clock::now_ms())))
        }
        (None, None) => unreachable!("the command line demands one of them"),
    };
    let lent = client.borrow(vec![item], end).await;
    let lent = match lent {
        Ok(lent) => lent,
        Err(error) => {
            close(client).await;
            return Err(failure(error));
        }
    };
    let kept = keep(settings, &client, &out, &lent).await;
    close(client).await;
    kept?;
    let until_ms = millis(lent.until);
    let value = Grant { checkout_id: lent.checkout_id, items: lent.items.clone() };
    settings.output.answer(&value, || {
        let what = items_in_words(&lent.items);
        let file = if lent.token.is_empty() {
            "the servers run without TLS: there is no token to prove it".to_owned()
        } else {
            format!("the token is in {}", out.display())
        };
        format!(
            "borrowed {what} until {} (checkout {}); {file}\n",
            instant(until_ms),
            lent.checkout_id
        )
    })?;
    Ok(Exit::Ok)
}

/// Writes the token; what cannot be kept is given back.
async fn keep(
    settings: &Settings,
    client: &Client,
    out: &Path,
    lent: &Borrowed,
) -> Result<(), Failure> {
    if lent.token.is_empty() {
        return Ok(());
    }
    let Err(unkept) = write_new(out, lent.token.as_bytes(), Readers::Owner) else { return Ok(()) };
    if client.return_borrowed(lent.checkout_id).await.is_err() {
        settings.output.warn(&format!(
            "checkout {} stays borrowed: return it with `triad borrow return {0}`",
            lent.checkout_id
        ));
    }
    Err(unkept)
}

/// Returns borrowed seats before their end.
pub async fn give_back(settings: &Settings, arguments: &ReturnArguments) -> Result<Exit, Failure> {
    let checkout_id = match &arguments.what {
        LoanSource::Id(id) => *id,
        LoanSource::File(path) => read_token(path).map_err(failure)?.1.checkout_id,
    };
    let client = client(settings, "triad borrow")?;
    // A session is opened by the first request.
    let returned = client.return_borrowed(checkout_id).await;
    close(client).await;
    if !returned.map_err(failure)? {
        let message = format!("checkout {checkout_id} is not out on loan to you on this host");
        let refusal = Refusal::because(Reason::NotBorrowed, message);
        return Err(Failure::refused(refusal.with_remedy(
            "only the same user on the same host returns early; see `triad borrow list`",
        )));
    }
    if let LoanSource::File(path) = &arguments.what {
        // It counts no more where a server is asked, and would only mislead.
        let _ = std::fs::remove_file(path);
    }
    settings.output.answer(&serde_json::json!({ "returned": checkout_id }), || {
        format!("checkout {checkout_id} is returned\n")
    })?;
    Ok(Exit::Ok)
}

/// Checks a token without a server.
pub fn verify(settings: &Settings, arguments: &VerifyArguments) -> Result<Exit, Failure> {
    let terms = verified(settings, &arguments.file)?;
    settings.output.answer(&terms, || {
        let now_ms = clock::now_ms();
        let holder = terms.holder.clone().unwrap_or_default();
        format!(
            "good: {} for {} on {} until {}, {} more (checkout {})\n",
            items_in_words(&terms.items),
            printable(&holder.user),
            printable(&holder.host),
            instant(terms.until_ms),
            show_ms(terms.until_ms.saturating_sub(now_ms)),
            terms.checkout_id
        )
    })?;
    Ok(Exit::Ok)
}

/// What a token says, if it counts here and now.
pub fn verified(settings: &Settings, file: &Path) -> Result<BorrowTerms, Failure> {
    let (token, _) = read_token(file).map_err(failure)?;
    let Some(ca) = settings.authority_pem()? else {
        let what = "a borrow token can be checked by the cluster's authority only".to_owned();
        let remedy = "name its certificate: --ca ca.pem".to_owned();
        return Err(Failure::Usage { what, remedy });
    };
    verify_borrowed(&token, &ca, UNIX_EPOCH + Duration::from_millis(clock::now_ms()))
        .map_err(|error| Failure::Client(format!("{}: {error}", file.display())))
}

fn items_in_words(items: &[triad_client::GrantedItem]) -> String {
    let item = |item: &triad_client::GrantedItem| {
        let (feature, version) = (printable(&item.feature), printable(&item.version_licensed));
        format!("{} of {feature} {version}", counted(item.seats.into(), "seat"))
    };
    items.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
