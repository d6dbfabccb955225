//! The rows: one story each, which sets a feature up with real clients, lets the
//! fault come, and goes on.

mod changes;
mod loans;
mod queue;
mod rules;
mod seats;
mod times;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::scene::Scene;
use crate::site;

/// A row's story.
pub type Row = Box<dyn FnOnce(Scene) -> LocalBoxFuture<'static, ()>>;

fn row<F: Future<Output = ()> + 'static>(story: impl FnOnce(Scene) -> F + 'static) -> Row {
    Box::new(move |scene| story(scene).boxed_local())
}

/// What is asked of every column when its rows are done.
pub const EQUAL_LEDGERS: &str = "three equal ledgers";

/// All rows, in the order of the table.
pub fn all() -> Vec<(&'static str, Row)> {
    vec![
        ("checkout", row(seats::checkout)),
        ("several features, all or none", row(seats::several)),
        ("queue position", row(queue::position)),
        ("borrow", row(loans::borrow)),
        ("early return", row(loans::early_return)),
        ("reservation", row(rules::reservation)),
        ("max", row(rules::max)),
        ("linger", row(times::linger)),
        ("dup group", row(seats::dup_group)),
        ("overdraft", row(rules::overdraft)),
        ("token pool", row(seats::tokens)),
        ("package (suite)", row(seats::suite)),
        ("idle timeout", row(times::idle)),
        ("policy change", row(changes::policy)),
        ("license change", row(changes::license)),
    ]
}

/// The license and the policy with which every column begins.
pub async fn prepare(scene: &Scene) {
    let license = changes::document(scene, &site::SEATS_FIRST).await;
    scene.applies_license(&license).await;
    assert_eq!(scene.applies_policy(&site::policy(1)).await, 1);
}
