//! The publisher's back office: who bought what, which servers belong together,
//! and the licenses that they are answered with.
//!
//! **Invariant:** every write is one transaction with its entry in the audit.

pub mod audit;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod exchange;
pub mod init;
pub mod keys;
pub mod lists;
pub mod office;
pub mod people;
pub mod registration;
pub mod rights;
pub mod table;
pub mod view;
pub mod web;
