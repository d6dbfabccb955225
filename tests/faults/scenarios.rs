//! What can be run by name.

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::{clocks, delays, disks, links, lost_data, pairs, partitions, power, processes, rounds};

/// A scenario of the suite.
pub struct Scenario {
    /// Of its test, too.
    pub name: &'static str,
    /// What happens.
    pub what: &'static str,
    /// On a thread that has nothing else to do.
    pub run: fn() -> LocalBoxFuture<'static, ()>,
}

macro_rules! scenario {
    ($module:ident :: $name:ident, $what:literal) => {
        Scenario { name: stringify!($name), what: $what, run: || $module::$name().boxed_local() }
    };
}

/// All of them.
pub const ALL: &[Scenario] = &[
    scenario!(processes::kill_loops, "leaders, followers and all three are killed"),
    scenario!(processes::freeze_and_thaw, "leaders, followers and all three stand still"),
    scenario!(partitions::leader_cut_from_both, "the leader is cut off from both others"),
    scenario!(partitions::leader_cut_one_way, "nobody hears the leader; the leader hears nobody"),
    scenario!(partitions::leader_vanishes, "the leader's host vanishes; its cable is pulled"),
    scenario!(partitions::clients_cut_from_leader, "clients reach everybody but the leader"),
    scenario!(partitions::no_quorum_and_flapping, "no node hears any other; links come and go"),
    scenario!(partitions::healed_node_leads, "a node that was cut off for long leads again"),
    scenario!(links::packets_are_lost, "5 and 20 of 100 packets are lost"),
    scenario!(links::connections_are_reset, "every connection of a node is reset"),
    scenario!(delays::nodes_in_two_cities, "10 ms between nodes, with the default settings"),
    scenario!(delays::nodes_far_apart, "50 ms between nodes; the leader is killed"),
    scenario!(delays::nodes_on_two_continents, "200 ms between nodes"),
    scenario!(delays::one_way_is_slow, "80 ms in one direction only"),
    scenario!(delays::doubled_and_overtaken, "packets come twice, and are overtaken by others"),
    scenario!(power::power_cut_of_one, "one node loses its power"),
    scenario!(power::power_cut_of_all, "all three lose their power at one moment"),
    scenario!(disks::full_disk, "the leader's disk is nearly full, then full"),
    scenario!(disks::failing_sync, "a sync of the leader's disk fails"),
    scenario!(disks::slow_syncs, "syncs of the leader's disk take 0.5 s and 2 s"),
    scenario!(disks::slow_followers, "syncs of both followers' disks take 0.3 s"),
    scenario!(
        disks::slow_leader_of_two,
        "syncs of the leader's disk take 0.3 s while a follower is down"
    ),
    scenario!(
        clocks::one_wrong_clock,
        "one wall clock jumps by an hour and by ten years, both ways"
    ),
    scenario!(
        clocks::started_with_a_wrong_clock,
        "a node starts with a clock that is an hour wrong"
    ),
    scenario!(lost_data::wiped_disk, "a disk is wiped"),
    scenario!(lost_data::rolled_back_disk, "a disk is put back to an older state"),
    scenario!(
        pairs::pair_cut_apart,
        "a main and its back-up do not reach each other, clients both"
    ),
    scenario!(rounds::some_of_each, "kills, power cuts, freezes and partitions in turn"),
];
