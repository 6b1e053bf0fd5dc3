//! What leases stand beside: a script in Redis that keeps the same two limits alone, called by redis-benchmark, and
//! unary calls to a coordinator that decide nothing. Two calls are one lease: acquired and released.

use std::time::Instant;

use servers::Redis;
use throttle::v1::{self, leases_client::LeasesClient};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::super::{Trouble, rate};
use super::{SERVERS, TIME, TOKEN, config};

/// Leases a second by the script, of 64 callers, each with one call under way.
pub(super) async fn script() -> Result<f64, Trouble> {
    let redis = Redis::start().await;
    let client = redis::Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let load = redis::cmd("SCRIPT").arg("LOAD").arg(include_str!("semaphore.lua")).to_owned();
    let name: String = load.query_async(&mut connection).await?;
    let url = redis.url();
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let servers = SERVERS.to_string();
    let output = Command::new("redis-benchmark")
        .args(["-p", port, "-c", "64", "-n", "400000", "-r", "100000", "--csv"])
        .args(["EVALSHA", &name, "0", "__rand_int__", &servers])
        .output()
        .await?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    // "test","rps",… and then the one line of this test, all in quotes.
    let calls = output.lines().last().and_then(|line| line.split("\",\"").nth(1));
    let calls: f64 = calls
        .and_then(|calls| calls.parse().ok())
        .ok_or_else(|| format!("redis-benchmark said {output:?}"))?;
    Ok(calls / 2.0)
}

/// Pairs of unary calls a second, of 400 callers over four connections; each is refused before anything is decided.
pub(super) async fn unary() -> Result<f64, Trouble> {
    let redis = Redis::start().await;
    let config = config(&redis).await?;
    let listener = TcpListener::bind(config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(coordinator::serve(config, listener, shutdown.clone()));
    let bearer: MetadataValue<Ascii> = format!("Bearer {TOKEN}").parse()?;
    let mut calling = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients
            .push(LeasesClient::new(Channel::from_shared(url.clone())?.tcp_nodelay(true).connect().await?));
    }
    let begun = Instant::now();
    for caller in 0..400 {
        let (mut client, bearer) = (clients[caller % clients.len()].clone(), bearer.clone());
        calling.spawn(async move {
            let mut count = 0;
            while begun.elapsed() < TIME {
                let mut request = Request::new(v1::FreeRequest { lease_id: "none".to_owned() });
                request.metadata_mut().insert("authorization", bearer.clone());
                match client.free(request).await {
                    Err(status) if status.code() == Code::InvalidArgument => count += 1,
                    other => return Err(Trouble::from(format!("the coordinator said {other:?}"))),
                }
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(ended) = calling.join_next().await {
        count += ended??;
    }
    let rate = rate(count, begun) / 2.0;
    shutdown.cancel();
    serving.await??;
    Ok(rate)
}
