//! The publisher's back office: who bought what, which servers belong together,
//! and the licenses that they are answered with.

pub mod audit;
pub mod clock;
pub mod db;
pub mod error;
pub mod registration;
