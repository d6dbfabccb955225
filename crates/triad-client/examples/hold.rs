//! The example application: it needs a seat of a feature to work, and keeps it
//! through failovers.
//!
//! ```text
//! TRIAD_SERVERS=lic-a:27070,lic-b:27070,lic-c:27070 TRIAD_CA=ca.pem hold solver 10
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use triad_client::{Client, State};

#[tokio::main]
async fn main() -> ExitCode {
    match work().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let feature = words.next().ok_or("usage: hold FEATURE SECONDS")?;
    let seconds = words.next().ok_or("usage: hold FEATURE SECONDS")?.parse()?;

    let client = Client::builder()
        .servers(std::env::var("TRIAD_SERVERS")?)
        .ca_file(std::env::var("TRIAD_CA")?)
        .application("hold")
        .on_state(|state| match state {
            State::Reconnecting { .. } => println!("the server is away; the seat is still ours"),
            State::Held => println!("the server knows us"),
            State::Idle | State::Lost { .. } => {}
        })
        .build()?;
    // The version of this application: the license must be for this one or a later.
    let seat = client.checkout(&feature, "2026.1", 1).await?;
    println!("seat {} is ours", seat.id());

    tokio::select! {
        // What the application is for.
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        // After this moment somebody else may have the seat: stop, save, or ask again.
        reason = seat.lost() => return Err(format!("the seat is lost: {reason}").into()),
    }
    // The work is done, whatever becomes of the seat: it comes back by itself.
    if let Err(error) = seat.give_back().await {
        eprintln!("the seat comes back later: {error}");
    }
    client.close().await;
    println!("done");
    Ok(())
}
