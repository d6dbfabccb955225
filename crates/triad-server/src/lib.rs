//! A node of Triad: gRPC services, sessions, leader duties, configuration,
//! and the making of a cluster.

pub mod authority;
pub mod certificates;
pub mod init;
pub mod node_spec;
