//! Waiting in the queue: the ticket that an application holds until its seats
//! are granted.

use std::time::Duration;

use tokio::sync::watch;

use crate::client::{Answer, Checkout, Client};
use crate::error::Error;
use crate::session::{Ask, Held};

/// How a request waits if its seats are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// For how long at most, as counted by the server; `None`: as long as the client lives. Where no
    /// server says that the time is over the client does: a second later, or 10 s if one had taken
    /// the request in. One that none takes in waits no longer than a checkout does.
    pub timeout: Option<Duration>,
    /// The priority wished for; never more than the site's policy gives.
    /// `None`: what it gives.
    pub priority: Option<u32>,
}

impl Wait {
    /// For so long at most.
    pub fn at_most(timeout: Duration) -> Self {
        Wait { timeout: Some(timeout), priority: None }
    }
}

/// Where a request stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1: the next to be served.
    pub place: u64,
    /// A guess at the rest of the wait, if there is one.
    pub estimate: Option<Duration>,
}

/// A request that may wait in the queue. Dropping it gives it up; seats that
/// are granted after all are returned.
pub struct Ticket {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
    pub(crate) places: watch::Receiver<Option<Place>>,
    pub(crate) client: Client,
    /// The answer has come.
    pub(crate) is_over: bool,
}

impl Ticket {
    /// Where it stands now; `None` before the server has said so, and while a
    /// lost session is opened anew.
    pub fn place(&self) -> Option<Place> {
        *self.places.borrow()
    }

    /// Where it stands, from now on.
    pub fn places(&self) -> watch::Receiver<Option<Place>> {
        self.places.clone()
    }

    /// Waits for the seats. Cancel safe: the place is kept while this is not
    /// polled.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if it waited as long as it wanted to
    /// (`QUEUE_TIMED_OUT`), or waiting is of no use;
    /// [`Error::Unavailable`] if nobody could answer in time; [`Error::Closed`]
    /// if the answer was given before.
    pub async fn granted(&mut self) -> Result<Checkout, Error> {
        if self.is_over {
            return Err(Error::Closed);
        }
        let held: Result<Held, Error> = self.answer.wait().await;
        self.is_over = true;
        held.map(|held| self.client.holding(held))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_over {
            self.client.ask(Ask::GiveUp { ticket: self.number });
        }
    }
}
