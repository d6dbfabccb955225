//! The publisher's back office with real servers: registration in every order,
//! rights that arrive by themselves, and what forgers and thieves get.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

mod air_gap;
mod exchange;
mod pair;
mod portal;
mod scale;
mod thieves;
