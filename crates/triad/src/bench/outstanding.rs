//! Others who hold a seat each while something is measured: a session and a
//! lease for each of them, and no connection, so that a hundred thousand fit.

use std::time::Duration;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::transport::Channel;
use triad_proto::net::{ChannelParameters, Connector, Traffic, channel};
use triad_proto::v1;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;

use crate::failure::Failure;
use crate::settings::Settings;

use super::progress::{Goal, Progress};
use super::site::{OPENING_MAX, Site};

/// Long enough for every workload, and no longer than nodes give.
const LEASE: Duration = Duration::from_secs(600);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Sessions of one address are bounded, and each connection may come from another: half of
/// what a node lets one have.
pub const HOLDERS_PER_CONNECTION: u32 = 50_000;
const CONNECTIONS_MIN: u32 = 4;

/// They hold their seats until they give them back, or their lease ends.
pub struct Outstanding {
    channels: Vec<Channel>,
    sessions: Vec<Vec<u8>>,
}

impl Outstanding {
    /// `count` holders of a seat in one of `pools` each, by turns.
    pub async fn take(
        site: &Site,
        settings: &Settings,
        pools: &[String],
        count: u32,
    ) -> Result<Self, Failure> {
        if count == 0 {
            return Ok(Outstanding { channels: Vec::new(), sessions: Vec::new() });
        }
        let connections = count.div_ceil(HOLDERS_PER_CONNECTION).max(CONNECTIONS_MIN);
        let connecting = (0..connections).map(|_| connect(site));
        let channels = futures::future::try_join_all(connecting).await?;
        let mut drawn = [0; 12];
        getrandom::fill(&mut drawn).map_err(Failure::Random)?;
        let done = Arc::new(AtomicU64::new(0));
        let goal = Goal::Count(u64::from(count), done.clone());
        let _shown = Progress::begin(settings.output, "others take a seat".to_owned(), goal);
        let take = |n: u32| {
            let session_id = [&drawn[..], &n.to_be_bytes()[..]].concat();
            let pool = &pools[n as usize % pools.len()];
            let request = request(session_id.clone(), n, pool);
            let channel = channels[n as usize % channels.len()].clone();
            let mut client = LicensingServiceClient::new(channel);
            async move { client.checkout(request).await.map(|_| session_id) }
        };
        let taking = stream::iter(0..count).map(take).buffer_unordered(OPENING_MAX);
        let counted = taking.inspect_ok(|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        let sessions = counted.try_collect().await.map_err(refused)?;
        Ok(Outstanding { channels, sessions })
    }

    /// Ends their sessions, and returns their seats with them.
    pub async fn give_back(self) -> Result<(), Failure> {
        let Some(channel) = self.channels.first() else { return Ok(()) };
        let close = |session_id| {
            let mut client = LicensingServiceClient::new(channel.clone());
            async move { client.close_session(v1::CloseSessionRequest { session_id }).await }
        };
        let closing = stream::iter(self.sessions).map(close).buffer_unordered(OPENING_MAX);
        closing.try_for_each(|_| async { Ok(()) }).await.map_err(refused)
    }
}

async fn connect(site: &Site) -> Result<Channel, Failure> {
    let (network, tls) = site.network();
    let host_port = site.leader_address().await?;
    let parameters = ChannelParameters {
        host_port: host_port.clone(),
        connector: Connector::new(network, tls),
        traffic: Traffic::Clients,
        call_timeout: Some(CALL_TIMEOUT),
    };
    let unreachable = |error| Failure::Unreachable(vec![(host_port, format!("{error}"))]);
    channel(parameters).await.map_err(unreachable)
}

fn request(session_id: Vec<u8>, n: u32, pool: &str) -> v1::CheckoutRequest {
    let holder = v1::Holder {
        user: format!("other{n}"),
        host: "bench".into(),
        application: "triad bench".into(),
        ..v1::Holder::default()
    };
    v1::CheckoutRequest {
        session_id,
        holder: Some(holder),
        request_id: 1,
        items: vec![v1::Item { feature: pool.to_owned(), seats: 1, ..v1::Item::default() }],
        lease_ms: LEASE.as_millis() as u64,
        ..v1::CheckoutRequest::default()
    }
}

pub fn refused(status: tonic::Status) -> Failure {
    Failure::refused(v1::Refusal::from_status(&status))
}
