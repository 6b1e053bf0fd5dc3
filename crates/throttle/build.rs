//! Compiles the gRPC contract in `proto/` without protoc, and keeps its descriptor set for reflection.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}/lockstep/throttle");
    let contract =
        protox::compile(["lockstep/throttle/v1/leases.proto", "lockstep/throttle/v1/relay.proto"], [root])?;
    #[expect(clippy::disallowed_methods, reason = "a build script's environment is Cargo's word to it")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("throttle.bin"), contract.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(contract)?;
    Ok(())
}
