//! Generates the message types from `proto/lockstep/broker`, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    let source = "lockstep/broker/v1/invitation.proto";
    println!("cargo::rerun-if-changed={root}/{source}");
    let descriptors = protox::compile([source], [root])?;
    tonic_prost_build::configure().build_client(false).build_server(false).compile_fds(descriptors)?;
    Ok(())
}
