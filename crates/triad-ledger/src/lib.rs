//! Who holds which seat.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod names;
pub mod rights;
