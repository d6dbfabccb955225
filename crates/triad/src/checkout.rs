//! `triad checkout`: a seat held by hand.

use std::time::Duration;

use crate::args::CheckoutArguments;
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding::Holding;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::text::{counted, printable};

/// Holds a seat until Ctrl-C, or as long as was asked for.
pub async fn run(settings: &Settings, arguments: &CheckoutArguments) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let (feature, seats, wait) = (&arguments.feature, &arguments.seats, arguments.wait);
    let taking = Holding::take(settings, feature, seats, wait, "triad checkout");
    let mut holding = tokio::select! {
        taken = taking => taken?,
        signal = signals.next() => return Ok(signal.exit()),
    };
    let grant = holding.grant();
    settings.output.answer(&grant, || {
        let items = grant.items.iter().map(|item| {
            let (feature, version) = (printable(&item.feature), printable(&item.version_licensed));
            format!("{} of {feature} {version}", counted(item.seats.into(), "seat"))
        });
        let items: Vec<_> = items.collect();
        let until = match arguments.hold {
            Some(hold) => format!("for {}", show_ms(hold.as_millis() as u64)),
            None => "until Ctrl-C".to_owned(),
        };
        format!("holding {} {until} (checkout {})\n", items.join(", "), grant.checkout_id)
    })?;
    let lost = tokio::select! {
        _ = signals.next() => None,
        () = held_for(arguments.hold) => None,
        lost = holding.lost() => Some(lost),
    };
    match lost {
        Some(failure) => Err(failure),
        None => {
            holding.give_back().await;
            Ok(Exit::Ok)
        }
    }
}

async fn held_for(hold: Option<Duration>) {
    match hold {
        Some(hold) => tokio::time::sleep(hold).await,
        None => std::future::pending().await,
    }
}
