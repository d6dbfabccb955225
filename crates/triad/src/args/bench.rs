//! The arguments of `triad bench`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::duration;

/// See [`super::Verb::Bench`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad bench --local                                        64 clients, 1,000 pools
  triad bench --local --workload w1,w2 --tls both
  triad bench --local --workload w2 --clients 1024 --conns 16 --tls off -o json
  triad bench --local --workload w5-kill --rounds 20
  triad bench --local --workload morning --clients 10000
  triad bench --workload w2 --clients 256                    on your cluster, on seats of its own
  triad bench --license-terms > bench.toml                   the license that this needs")]
pub struct BenchArguments {
    /// Start three nodes for it and remove them afterwards; else it runs on the cluster of the
    /// options, on its own features bench-*, whose license --license-terms describes
    #[arg(long)]
    pub local: bool,
    /// What to measure; several separated by commas
    #[arg(long, value_delimiter = ',', default_value = "w2", value_name = "NAMES")]
    pub workload: Vec<Workload>,
    /// How many clients, each with its own session; by default as many as the workload is known for
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000), value_name = "NUMBER")]
    pub clients: Option<u32>,
    /// How many connections the clients share, at most 64 each; 0: each has its own
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20_000), value_name = "NUMBER")]
    pub conns: u32,
    /// How long to measure; by default as long as the workload is known for
    #[arg(long, value_parser = duration::parse, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// End when each client has done so many cycles, or heartbeats of w4a, however long that takes;
    /// for w1 3,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "NUMBER")]
    pub cycles: Option<u32>,
    /// How many pools there are to draw from, of 1,000
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "NUMBER")]
    pub pools: u32,
    /// How long to run before measuring; 2s, for w4b 15s
    #[arg(long = "warm-up", alias = "warmup", value_parser = duration::parse, value_name = "TIME")]
    pub warm_up: Option<Duration>,
    /// How many others hold a seat meanwhile, each in a session of its own; for w7 10,000, for w8
    /// 100,000. On hot pools they hold seats of that pool
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "NUMBER")]
    pub outstanding: Option<u32>,
    /// How many failovers, each of a new cluster
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "NUMBER")]
    pub rounds: u32,
    /// The lease of the holders that fall silent
    #[arg(long, default_value = "15s", value_parser = duration::parse, value_name = "TIME")]
    pub lease: Duration,
    /// How often each session of w4b is heard
    #[arg(long, default_value = "10s", value_parser = duration::parse, value_name = "TIME")]
    pub beat: Duration,
    /// How many processors the load generator may keep busy
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "NUMBER")]
    pub threads: u16,
    /// Also count the leader's system calls for each cycle, by strace, in a second go
    #[arg(long, requires = "local")]
    pub syscalls: bool,
    /// Print the terms of a license for bench-* on the cluster of the options, and do nothing else
    #[arg(long, conflicts_with_all = ["local", "workload"])]
    pub license_terms: bool,
}

/// What a benchmark does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// One client, 3,000 cycles, one after the other
    W1,
    /// Many clients without a pause, each on a pool drawn at random of 1,000
    W2,
    /// One pool with four seats for each client
    #[value(alias = "w3")]
    W3a,
    /// One pool with a seat for every two clients; who is denied asks again at once
    W3b,
    /// One pool of 100,000 seats, counted
    W3c,
    /// The same, each client holding for up to 200 ms and pausing for up to 200 ms
    W3d,
    /// Heartbeats without a pause
    #[value(alias = "w4")]
    W4a,
    /// 10,000 sessions that hold a seat each and are heard every 10 s
    W4b,
    /// The leader is killed with SIGKILL
    #[value(alias = "w5")]
    W5Kill,
    /// The leader stands still (SIGSTOP), as a hung host does
    W5Freeze,
    /// The leader is stopped with SIGTERM, as for maintenance
    W5Stop,
    /// 10,000 holders fall silent: how late their seats are free
    W6,
    /// W1 and W2 while others hold seats; memory and disk
    W7,
    /// A follower restarts, restarts having missed a fifth, and all start cold
    W8,
    /// W1 and W2 with 256 clients: what each cycle writes to the disks
    W9,
    /// 10,000 clients hold a seat each, the leader is killed, and all of them resume
    Morning,
}
