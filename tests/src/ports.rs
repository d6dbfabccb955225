//! Ports for one cluster, shared with no other test on this machine.
//!
//! A port that the system picks may be picked again, by anybody's outgoing
//! connection, while the node that used it is down. So these lie below the range
//! that the system picks from, in blocks, and who holds the first port of a
//! block owns the block.

use std::net::TcpListener;

/// Below Linux's ephemeral ports, which begin at 32768.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 600;
const PORTS_PER_BLOCK: u16 = 32;

/// A block of ports on loopback, ours until it is dropped.
pub struct Ports {
    _guard: TcpListener,
    next: u16,
    end: u16,
}

impl Ports {
    /// Takes a block that nobody uses.
    ///
    /// # Panics
    ///
    /// If every block is in use.
    pub fn reserve() -> Self {
        // Tests begin at different places, so that they seldom meet.
        let mut random = [0; 2];
        getrandom::fill(&mut random).expect("the system has randomness");
        let begin = u16::from_ne_bytes(random) % BLOCKS;
        for n in 0..BLOCKS {
            let first = FIRST + (begin + n) % BLOCKS * PORTS_PER_BLOCK;
            let Ok(guard) = TcpListener::bind(("127.0.0.1", first)) else { continue };
            let end = first + PORTS_PER_BLOCK;
            // A node that a killed test left behind may still be there.
            if (first + 1..end).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Ports { _guard: guard, next: first + 1, end };
            }
        }
        panic!("no {PORTS_PER_BLOCK} free ports in a row on 127.0.0.1; see ss -ltnp");
    }

    /// The next port of the block.
    ///
    /// # Panics
    ///
    /// If there is none left.
    pub fn take(&mut self) -> u16 {
        let port = self.next;
        assert!(port < self.end, "a cluster needs no more than {PORTS_PER_BLOCK} ports");
        self.next += 1;
        port
    }
}
