//! Generates the wire from `/proto`, without `protoc`.

use std::path::Path;

use prost::Message;

const FILES: [&str; 4] = ["refusal.proto", "licensing.proto", "admin.proto", "peer.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As it is said now: what was built in one checkout may be run in another.
    let here = std::env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&here).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files: Vec<_> = FILES.iter().map(|file| root.join("triad/v1").join(file)).collect();
    let descriptors = protox::compile(&files, [&root])?;
    let out = std::env::var("OUT_DIR")?;
    let encoded = descriptors.encode_to_vec();
    std::fs::write(Path::new(&out).join("triad.v1.bin"), &encoded)?;

    tonic_prost_build::configure()
        .bytes(".triad.v1.LogEntry")
        .bytes(".triad.v1.InstallSnapshotRequest")
        .codec_path("crate::codec::MessageCodec")
        .compile_fds(descriptors)?;
    // `-o json` of the command line is proto3 JSON of these messages.
    pbjson_build::Builder::new().register_descriptors(&encoded)?.build(&[".triad.v1"])?;
    Ok(())
}
