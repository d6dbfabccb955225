//! `triad borrow`: seats that are used without a server.

use triad_proto::v1::{CheckoutInfo, MarkLostRequest, Reason, Refusal};

use crate::args::seats::{BorrowVerb, ListArguments, LostArguments};
use crate::checkouts::{all_checkouts, checkout_table, find, in_words, is_away};
use crate::cluster::{Admin, Cluster, Read};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{warn_if_stale, warn_if_unknown};
use crate::loan;
use crate::settings::Settings;
use crate::text::instant;

/// Does what was asked with borrowed seats.
pub async fn run(settings: &Settings, verb: &BorrowVerb) -> Result<Exit, Failure> {
    match verb {
        BorrowVerb::Take(arguments) => loan::take(settings, arguments).await,
        BorrowVerb::Return(arguments) => loan::give_back(settings, arguments).await,
        BorrowVerb::Verify(arguments) => loan::verify(settings, arguments),
        BorrowVerb::List(arguments) => list(settings, arguments).await,
        BorrowVerb::Lost(arguments) => lost(settings, arguments).await,
    }
}

async fn list(settings: &Settings, arguments: &ListArguments) -> Result<Exit, Failure> {
    let feature = arguments.feature.clone().unwrap_or_default();
    let mut read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_checkouts(admin, &feature).await)
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    if read.answer.checkouts.is_empty() {
        warn_if_unknown(settings, &feature).await;
    }
    let is_asked = |checkout: &CheckoutInfo| arguments.asks_for(checkout.holder.as_ref());
    read.answer.checkouts.retain(|checkout| is_away(checkout.state()) && is_asked(checkout));
    let checkouts = &read.answer.checkouts;
    settings.output.list(&read.answer, checkouts, || checkout_table(checkouts))?;
    Ok(Exit::Ok)
}

async fn lost(settings: &Settings, arguments: &LostArguments) -> Result<Exit, Failure> {
    demand_somebody_to_ask(arguments.consent)?;
    let mut cluster = Cluster::new(settings)?;
    let checkout = find(&cluster, arguments.id).await?;
    if !is_away(checkout.state()) {
        let message = format!("checkout {} is not borrowed", arguments.id);
        let refusal = Refusal::because(Reason::NotBorrowed, message);
        return Err(Failure::refused(refusal.with_remedy("`triad borrow list` shows what is")));
    }
    let until = instant(checkout.until_ms);
    let plan = format!(
        "notes as lost: {}\nit stays in use until {until}: somebody may be using it without a \
         server\n",
        in_words(&checkout)
    );
    match consent(settings, arguments.consent, &plan)? {
        Consent::Given => {}
        Consent::Rehearsed => return Ok(Exit::Ok),
        Consent::Withheld => return Ok(Exit::Error),
    }
    let request = MarkLostRequest { checkout_id: arguments.id };
    cluster.begin_anew();
    let Read { answer, address } = cluster
        .write(async |admin: &mut Admin| Ok(admin.mark_lost(request).await?.into_inner()))
        .await?;
    settings.output.answer(&answer, || {
        format!("checkout {} is noted as lost; it comes back at {until}\n", arguments.id)
    })?;
    cluster.warn_if_alone(settings, &address).await;
    Ok(Exit::Ok)
}
