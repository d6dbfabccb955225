//! The wire of Triad: the messages generated from `/proto`, how a "no" becomes
//! a gRPC status and back ([`refusal`]), how bytes travel ([`net`]), what
//! proves a borrowed seat ([`borrow`]), and what this machine is called
//! ([`machine`]). It knows nothing of licenses, sessions or Raft.

pub mod borrow;
pub mod codec;
pub mod identity;
pub mod machine;
pub mod net;
pub mod refusal;

/// The generated messages and services of `triad.v1`. Their documentation is
/// the comments in `/proto/triad/v1`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("triad.v1");
    include!(concat!(env!("OUT_DIR"), "/triad.v1.serde.rs"));

    /// The encoded file descriptors, for the reflection service.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/triad.v1.bin"));
}
