//! Networks that are cut in two, one way or both, for all or for some, and
//! healed.

use std::time::Duration;

use tokio::time::Instant;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::{Beat, Reason, Refusal};
use triad_tests::cluster::FEATURE;
use triad_tests::lab::Host;
use triad_tests::{Lab, RawSession, raw};

use crate::crowd::{Crowd, LEASE, options};

const ROUNDS: usize = 3;
/// Long enough for an election and for those who still wait for the old leader.
const CUT: Duration = Duration::from_secs(3);

/// P2, P5, P6, P7, P12: the leader and the two others hear nothing of each
/// other. The two elect one and serve, the old leader answers nobody, and nobody
/// loses a seat, however often it happens.
#[cfg_attr(test, tokio::test)]
pub async fn leader_cut_from_both() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for round in 0..ROUNDS {
        let old = lab.settled().await;
        let session = raw::open([u8::try_from(round).unwrap() + 1; 16], false);
        let mut stale = RawSession::open(lab.channel(old), session).await.unwrap();
        crowd.book().forget_gaps();
        lab.partition(old);
        stale.say(raw::take(1, FEATURE, 1));
        crowd.until_served(100).await;
        gaps.push(crowd.book().longest_gap());
        assert_ne!(lab.leader().await, old);
        // Another leads and serves by now, and has given every session a lease.
        stale.say(Call::Beat(Beat { beat: 2 }));
        let refusal = loop {
            match stale.next().await {
                Ok(Event::Beat(beat)) => panic!("a stale leader acknowledged {beat:?}"),
                Ok(Event::Taken(taken)) => panic!("a stale leader answered {taken:?}"),
                Ok(_) => {}
                Err(status) => break Refusal::from_status(&status),
            }
        };
        assert!(matches!(refusal.reason(), Reason::NotLeader | Reason::NoQuorum), "{refusal:?}");
        crowd.until_held().await;
        lab.heal();
        lab.settled().await;
        // Its session was never given back; it ends, so that only the crowd is left.
        let mut again = raw::open([u8::try_from(round).unwrap() + 1; 16], true);
        again.beat = 3;
        if let Ok(session) = RawSession::open(lab.channel(lab.leader().await), again).await {
            session.say(Call::Close(triad_proto::v1::Close {}));
        }
    }
    println!("leader_cut_from_both: {ROUNDS} cuts; gaps {gaps:.0?}");
    assert!(gaps.iter().all(|gap| *gap < LEASE), "{gaps:?}");
    crowd.finish("leader_cut_from_both", lab).await;
}

/// P5, P12: only one direction is cut: first nobody hears the leader, then the
/// leader hears nobody.
#[cfg_attr(test, tokio::test)]
pub async fn leader_cut_one_way() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for is_mute in [true, false] {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        for other in lab.others(leader) {
            let (from, to) = (Host::Node(leader), Host::Node(other));
            let (from, to) = if is_mute { (from, to) } else { (to, from) };
            lab.silence(from, to);
        }
        crowd.go_on(CUT).await;
        crowd.until_served(100).await;
        crowd.until_held().await;
        let gap = crowd.book().longest_gap();
        println!("leader_cut_one_way: {} gap {gap:.0?}", if is_mute { "mute" } else { "deaf" });
        assert!(gap < LEASE, "{gap:?}");
        lab.heal();
        lab.settled().await;
    }
    crowd.finish("leader_cut_one_way", lab).await;
}

/// P5, P12: the leader's host hears and says nothing any more, to nodes and
/// clients alike; no socket is closed. Then its cable is pulled.
#[cfg_attr(test, tokio::test)]
pub async fn leader_vanishes() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for is_unplugged in [false, true] {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        match is_unplugged {
            true => lab.unplug(Host::Node(leader)),
            false => lab.isolate(leader),
        }
        crowd.until_served(100).await;
        let gap = crowd.book().longest_gap();
        crowd.go_on(CUT).await;
        crowd.until_held().await;
        println!("leader_vanishes: unplugged {is_unplugged}, gap {gap:.0?}");
        assert!(gap < LEASE, "{gap:?}");
        lab.heal();
        lab.settled().await;
    }
    crowd.finish("leader_vanishes", lab).await;
}

/// P5: the clients cannot reach the leader, which is well. Nobody can serve
/// them meanwhile; for less than a lease that costs nobody a seat.
#[cfg_attr(test, tokio::test)]
pub async fn clients_cut_from_leader() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for _ in 0..2 {
        let leader = lab.settled().await;
        lab.separate(Host::Clients, Host::Node(leader));
        crowd.go_on(CUT).await;
        lab.heal();
        let healed = Instant::now();
        crowd.until_served(50).await;
        crowd.until_held().await;
        println!("clients_cut_from_leader: all are back {:.0?} after", healed.elapsed());
    }
    crowd.finish("clients_cut_from_leader", lab).await;
}

/// P5, P6: no node hears any other, so nobody may grant; then one pair after the
/// other is cut, faster than anybody settles.
#[cfg_attr(test, tokio::test)]
pub async fn no_quorum_and_flapping() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for n in 0..3 {
        lab.partition(n);
    }
    // What was under way may have been committed, and grants last as long as a
    // leader's last round.
    crowd.go_on(CUT / 2).await;
    let granted = crowd.book().tally.grants;
    crowd.go_on(CUT).await;
    assert_eq!(crowd.book().tally.grants, granted, "granted without a quorum");
    lab.heal();
    crowd.until_served(50).await;
    crowd.until_held().await;
    for round in 0..12 {
        let n = round % 3;
        lab.separate(Host::Node(n), Host::Node((n + 1) % 3));
        crowd.go_on(CUT / 5).await;
        lab.heal();
        crowd.go_on(CUT / 15).await;
    }
    crowd.until_served(100).await;
    crowd.finish("no_quorum_and_flapping", lab).await;
}

/// P12: a leader that was cut off for so long that its connections are dead, or
/// pause between their attempts, can lead again as soon as the network is whole.
#[cfg_attr(test, tokio::test)]
pub async fn healed_node_leads() {
    /// TCP is in a pause of six seconds, and in one of thirteen.
    const CUTS_MS: [u64; 2] = [7_000, 14_000];
    /// From the healing to its leadership.
    const LIMIT: Duration = Duration::from_secs(8);
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for cut_ms in CUTS_MS {
        let old = lab.settled().await;
        lab.partition(old);
        lab.until("the old leader is stale", Duration::from_secs(40), |seen| {
            let alone = seen.0[old].as_ref().ok()?;
            (alone.freshness?.stale_ms >= cut_ms).then_some(())
        })
        .await;
        lab.heal();
        let healed = Instant::now();
        let name = &lab.nodes[old].name;
        let moved = lab.triad(&format!("leader transfer --to {name} --timeout 15s")).await;
        let took = healed.elapsed();
        assert_eq!(moved.code(), 0, "after {took:.1?}: {moved:?}");
        assert_eq!(lab.settled().await, old);
        println!("healed_node_leads: cut for {cut_ms} ms, leads {took:.1?} after");
        assert!(took < LIMIT, "{took:?}");
    }
    crowd.finish("healed_node_leads", lab).await;
}
