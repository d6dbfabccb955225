//! HTTP/2 that is spoken to do harm: floods of frames, of streams and of
//! headers, and answers that are never read.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::arena::Arena;
use crate::attacker::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS_TYPE, WINDOW_UPDATE, frame, headers, message, until_closed, until_frame,
};
use crate::connections::again_and_again;

const STATUS: &str = "/triad.v1.AdminService/Status";
const SESSION: &str = "/triad.v1.LicensingService/Session";
const CANCEL: u32 = 8;
/// Frames that are written in one go.
const FRAMES: usize = 256;

/// Writes the same bytes for as long as the node takes them; what it answers is
/// thrown away.
async fn pour(host: &Attacker, target: &str, begin: &[u8], again: &[u8]) -> io::Result<()> {
    let wire = host.http2(target).await?;
    let (mut read, mut write) = tokio::io::split(wire);
    let mut buffer = vec![0; 64 << 10];
    let pouring = async {
        write.write_all(begin).await?;
        loop {
            write.write_all(again).await?;
            write.flush().await?;
            host.strikes();
        }
    };
    tokio::select! {
        ended = pouring => ended,
        _ = async { while matches!(read.read(&mut buffer).await, Ok(count) if count > 0) {} } => Ok(()),
    }
}

/// One request with a new stream for each, as [`FRAMES`] of them.
struct Numbered {
    next: u32,
}

impl Numbered {
    fn frames(&mut self, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..FRAMES {
            bytes.extend(of(self.next));
            self.next += 2;
        }
        bytes
    }
}

/// Streams are opened and reset at once, as fast as they go.
async fn rapid_reset(host: &Attacker, target: &str) -> io::Result<()> {
    let wire = host.http2(target).await?;
    let (mut read, mut write) = tokio::io::split(wire);
    let mut numbers = Numbered { next: 1 };
    let block = headers(STATUS, &[]);
    let reset = |stream| {
        let mut both = frame(HEADERS, END_HEADERS, stream, &block);
        both.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        both
    };
    let flood = async {
        loop {
            write.write_all(&numbers.frames(reset)).await?;
            write.flush().await?;
            host.strikes();
        }
    };
    tokio::select! {
        ended = flood => ended,
        () = until_closed(&mut read) => Ok(()),
    }
}

/// A name, what is sent first, and what is sent again and again.
type Flood = (&'static str, Vec<u8>, Vec<u8>);

fn floods() -> Vec<Flood> {
    let repeated = |bytes: Vec<u8>| bytes.repeat(FRAMES);
    let begun = frame(HEADERS, END_HEADERS, 1, &headers(SESSION, &[]));
    vec![
        ("pings", vec![], repeated(frame(PING, 0, 0, &[7; 8]))),
        ("settings", vec![], repeated(frame(SETTINGS_TYPE, 0, 0, &[]))),
        ("priorities", vec![], repeated(frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]))),
        ("empty data", begun.clone(), repeated(frame(DATA, 0, 1, &[]))),
        ("window updates", begun, repeated(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        (
            "endless headers",
            frame(HEADERS, 0, 1, &headers(STATUS, &[])),
            repeated(frame(CONTINUATION, 0, 1, &headers(STATUS, &[("x", &[b'x'; 100])]))),
        ),
        (
            "giant headers",
            vec![],
            frame(HEADERS, 0, 1, &headers(STATUS, &[("x", &[b'x'; 16_000])])),
        ),
        ("unknown frames", vec![], repeated(frame(0x77, 0xff, 0, &[1; 64]))),
    ]
}

async fn flood(arena: &mut Arena, target: &str, (name, begin, again): Flood) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(8, move |_| {
        let (host, target) = (host.clone(), target.clone());
        let (begin, again) = (begin.clone(), again.clone());
        async move { pour(&host, &target, &begin, &again).await }
    });
    arena.withstand(name, 16, attack).await;
}

/// More streams than there may be, and none of them ever ended.
async fn stream_flood(arena: &mut Arena, target: &str) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(30, move |_| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let mut wire = host.http2(&target).await?;
            for stream in (1..1_000).step_by(2) {
                let begin = frame(HEADERS, END_HEADERS, stream, &headers(SESSION, &[]));
                wire.write_all(&begin).await?;
            }
            wire.flush().await?;
            // Those beyond the limit are refused one by one.
            let refused = until_frame(&mut wire, |kind, _| kind == RST_STREAM).await;
            if refused.is_some() {
                host.strikes();
            }
            until_closed(&mut wire).await;
            Ok(())
        }
    });
    arena.withstand("stream flood", 30, attack).await;
}

/// Asks and asks, and never reads an answer.
async fn never_reads(arena: &mut Arena, target: &str) {
    let (host, target) = (arena.attacker.clone(), target.to_owned());
    let attack = again_and_again(30, move |_| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let mut wire = host.http2(&target).await?;
            let mut numbers = Numbered { next: 1 };
            let ask = |stream| {
                let mut ask = frame(HEADERS, END_HEADERS, stream, &headers(STATUS, &[]));
                ask.extend(frame(DATA, END_STREAM, stream, &message(0, &[])));
                ask
            };
            loop {
                wire.write_all(&numbers.frames(ask)).await?;
                wire.flush().await?;
                host.strikes();
            }
        }
    });
    arena.withstand("never reads", 60, attack).await;
}

/// P15: floods of streams and resets, endless headers, and answers that nobody reads.
#[tokio::test]
async fn hostile_frames() {
    let mut arena = Arena::open().await;
    let target = arena.leaders_port().await;
    let (host, leader) = (arena.attacker.clone(), target.clone());
    let attack = again_and_again(8, move |_| {
        let (host, leader) = (host.clone(), leader.clone());
        async move { rapid_reset(&host, &leader).await }
    });
    arena.withstand("rapid reset", 16, attack).await;
    for kind in floods() {
        flood(&mut arena, &target, kind).await;
    }
    stream_flood(&mut arena, &target).await;
    never_reads(&mut arena, &target).await;
}
