//! What an application links to hold seats of a Triad cluster.
//!
//! ```no_run
//! # async fn app() -> Result<(), triad_client::Error> {
//! let client = triad_client::Client::builder()
//!     .servers("lic-a:27070,lic-b:27070,lic-c:27070")
//!     .ca_file("/etc/triad/ca.pem")
//!     .build()?;
//! let seat = client.checkout("solver", "2026.1", 1).await?;
//! // ... work; the seat is kept by heartbeats, through failovers too ...
//! drop(seat); // and returned
//! # Ok(()) }
//! ```
//!
//! A [`Client`] has one session. Its heartbeats run on one stream to the leader
//! in a task of their own. When the stream breaks, the task looks for the
//! leader again and resumes the session; requests that were under way are sent
//! again with the same number, so that they are answered once. The application
//! sees nothing of it, unless it asks: [`Client::states`].
//!
//! Seats that are taken can be waited for ([`Client::queue`]), and some may be
//! borrowed and used without a server ([`Client::borrow`]).
//!
//! A seat is yours until [`State::Lost`], which comes no later than the server
//! may give it to somebody else: the library counts the lease on its own clock
//! from when it *sent* the last heartbeat that was acknowledged.

mod borrow;
mod builder;
mod client;
mod connections;
mod error;
mod lease;
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
mod mutation;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub mod mutation;
mod process;
mod queue;
mod requests;
mod route;
mod servers;
mod session;
mod witness;

pub use borrow::{BorrowEnd, BorrowError, Borrowed, Here, read_token, verify_borrowed};
pub use builder::ClientBuilder;
pub use client::{Checkout, Client, Item};
pub use connections::SharedConnections;
pub use error::Error;
pub use lease::State;
pub use queue::{Place, Ticket, Wait};
pub use servers::{ServersError, parse_servers};
/// What a borrow token says.
pub use triad_proto::v1::BorrowTerms;
/// Seats that were granted, as the server describes them.
pub use triad_proto::v1::GrantedItem;
/// Why something was not done.
pub use triad_proto::v1::{Reason, Refusal};
pub use witness::Witness;
