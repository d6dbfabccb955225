//! Messages that lie about their length, are too long, never end, or hold what
//! no name may.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tonic::Code;
use tonic::codegen::{Body, http};
use triad_client::Reason;
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_tests::cluster::FEATURE;

use crate::arena::Arena;
use crate::attacker::{
    DATA, END_HEADERS, HEADERS, frame, headers, message, until_closed, until_frame,
};
use crate::connections::again_and_again;

const METHODS: [&str; 5] = [
    "/triad.v1.LicensingService/Checkout",
    "/triad.v1.LicensingService/Session",
    "/triad.v1.AdminService/ApplyLicense",
    "/triad.v1.AdminService/Status",
    "/grpc.health.v1.Health/Check",
];

/// A gibibyte is announced, and some bytes of it come.
async fn claimed_lengths(arena: &mut Arena, target: &str) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(100, move |n| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let mut wire = host.http2(&target).await?;
            let claim = message(1 << 30, &[7; 8_000]);
            wire.write_all(&frame(HEADERS, END_HEADERS, 1, &headers(METHODS[n % 5], &[]))).await?;
            wire.write_all(&frame(DATA, 0, 1, &claim)).await?;
            wire.flush().await?;
            let answered = until_frame(&mut wire, |_, stream| stream == 1).await;
            if answered.is_some() {
                host.strikes();
            }
            Ok(())
        }
    });
    arena.withstand("claimed lengths", 500, attack).await;
}

/// Ten real mebibytes.
async fn real_lengths(arena: &mut Arena, target: &str) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(4, move |_| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let channel = host.channel(&target);
            let mut licensing =
                LicensingServiceClient::new(channel).max_encoding_message_size(16 << 20);
            let item = v1::Item { feature: "x".repeat(10 << 20), seats: 1, ..v1::Item::default() };
            let request =
                v1::CheckoutRequest { items: vec![item], ..v1::CheckoutRequest::default() };
            let status = licensing.checkout(request).await.unwrap_err();
            let told = [Code::OutOfRange, Code::Unavailable, Code::Unknown, Code::Internal];
            assert!(told.contains(&status.code()), "{status:?}");
            host.strikes();
            Ok(())
        }
    });
    arena.withstand("ten mebibytes", 12, attack).await;
}

/// The first bytes of a long message, and then nothing for ever.
struct Unfinished(Option<Bytes>);

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
            // The connection wakes nobody for this: it is dropped with the rest.
            None => Poll::Pending,
        }
    }
}

/// Long messages that are allowed, all but their last byte: whoever takes them
/// in has to keep them. Nobody here has a token.
async fn unfinished_messages(arena: &mut Arena, target: &str, method: &'static str, length: usize) {
    use tower::{Service, ServiceExt};
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(20, move |_| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let channel = host.channel(&target);
            let calls = (0..60).map(|_| {
                let body = message(length as u32, &vec![b'x'; length - 1]);
                let body = tonic::body::Body::new(Unfinished(Some(body.into())));
                let request = http::Request::post(format!("https://node.triad{method}"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(body)
                    .unwrap();
                let mut channel = channel.clone();
                let host = host.clone();
                async move {
                    let called = channel.ready().await.ok()?.call(request).await;
                    host.strikes();
                    called.ok()
                }
            });
            futures::future::join_all(calls).await;
            Ok(())
        }
    });
    // Each of them has to be answered, however long it stays unfinished.
    arena
        .withstand(&format!("unfinished {}", method.rsplit('/').next().unwrap()), 1_200, attack)
        .await;
}

/// Names and other texts that no honest client sends, byte by byte.
async fn hostile_names(arena: &mut Arena, target: &str) {
    let channel = arena.attacker.channel(target);
    let mut licensing = LicensingServiceClient::new(channel).max_encoding_message_size(4 << 20);
    let long = "x".repeat(60_000);
    let names =
        ["a\0b", "a\u{1b}[2J", "\u{202e}nimda", "a\r\nb", "a\u{7f}", "\u{85}", long.as_str()];
    for name in names {
        let holders = [
            v1::Holder { user: name.into(), ..v1::Holder::default() },
            v1::Holder { host: name.into(), ..v1::Holder::default() },
            v1::Holder { display: name.into(), ..v1::Holder::default() },
            v1::Holder { project: name.into(), ..v1::Holder::default() },
        ];
        for holder in holders {
            let item = v1::Item { feature: FEATURE.into(), seats: 1, ..v1::Item::default() };
            let request = v1::CheckoutRequest {
                session_id: vec![3; 16],
                request_id: 1,
                items: vec![item],
                holder: Some(holder),
                ..v1::CheckoutRequest::default()
            };
            let status = licensing.checkout(request).await.unwrap_err();
            let refusal = Refusal::from_status(&status);
            assert_eq!(refusal.reason(), Reason::InvalidRequest, "{name:.20?}: {status:?}");
            let plain = status.message().chars().all(|c| !c.is_control() && c != '\u{202e}');
            assert!(plain && status.message().len() < 1_000, "{status:?}");
        }
    }
}

/// Bytes that are no UTF-8 where a text must be, and requests that are no gRPC.
async fn malformed_calls(arena: &mut Arena, target: &str) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(12, move |n| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let mut wire = host.http2(&target).await?;
            // Field 4 of a checkout, an item, whose field 1 is a text.
            let text = [0x22, 6, 0x0a, 4, 0xff, 0xfe, 0x80, 0xc0];
            let (more, body): (&[(&str, &[u8])], Vec<u8>) = match n % 6 {
                0 => (&[], message(8, &text)),
                1 => (&[("grpc-timeout", b"99999999999999999999H")], message(0, &[])),
                2 => (&[("grpc-encoding", b"gzip")], [&[1], &message(8, &text)[1..]].concat()),
                3 => (&[("content-length", b"18446744073709551615")], message(0, &[])),
                4 => (&[("grpc-timeout", b"0n"), ("triad", b"\x80\xff")], message(0, &[])),
                _ => (&[("authorization", b"Bearer \xff\xfe")], message(2, &[0x08, 0xff])),
            };
            let method = METHODS[n % 5];
            wire.write_all(&frame(HEADERS, END_HEADERS, 1, &headers(method, more))).await?;
            wire.write_all(&frame(DATA, 1, 1, &body)).await?;
            wire.flush().await?;
            if until_frame(&mut wire, |_, stream| stream == 1).await.is_some() {
                host.strikes();
            }
            wire.shutdown().await?;
            until_closed(&mut wire).await;
            io::Result::Ok(())
        }
    });
    arena.withstand("malformed calls", 200, attack).await;
}

/// P15: giant and endless messages, and names that are commands to terminals and tables.
#[tokio::test]
async fn hostile_messages() {
    let mut arena = Arena::open().await;
    let target = arena.leaders_port().await;
    claimed_lengths(&mut arena, &target).await;
    real_lengths(&mut arena, &target).await;
    unfinished_messages(&mut arena, &target, METHODS[0], 64 << 10).await;
    unfinished_messages(&mut arena, &target, METHODS[2], 2 << 20).await;
    hostile_names(&mut arena, &target).await;
    malformed_calls(&mut arena, &target).await;
}
