//! Three ledgers that agree.
mod types;
