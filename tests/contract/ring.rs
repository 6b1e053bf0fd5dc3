//! A real coordinator with a real Redis behind it, for the lines where leases matter.

use std::net::SocketAddr;
use std::time::Duration;

use coordinator::Config;
use model::clock;
use model::secret::Secret;
use servers::Redis;
use throttle::{Session, Throttle};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::house::shares;

static REDIS: OnceCell<Redis> = OnceCell::const_new();

const TOKEN: &str = "a-token-for-tests";

/// A coordinator that ends with the test.
pub(crate) struct Ring {
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl Ring {
    /// Starts one with a ledger of its own, by this name.
    pub(crate) async fn start(name: &str) -> Self {
        let redis = REDIS.get_or_init(Redis::start).await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            listen: address,
            token: Secret::from(TOKEN),
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            redis_url: Secret::from(redis.url()),
            key_prefix: name.to_owned(),
            redis_timeout_millis: 5_000,
            lease_millis: 30_000,
            renew_millis: 10_000,
            retry_seconds: 30,
            beat_millis: 100,
            quiet_after_loss_millis: 60_000,
            batch: 128,
        };
        let patience = Duration::from_secs(5);
        coordinator::begin_ledger(&config.redis_url, &config.key_prefix, patience).await.unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(coordinator::serve(config, listener, shutdown.clone()));
        Self { address, shutdown }
    }

    /// The hand of one more worker process.
    pub(crate) fn process(&self) -> Throttle {
        let config = throttle::Config {
            urls: vec![format!("http://{}", self.address)],
            token: Secret::from(TOKEN),
            ca_file: String::new(),
            wait_seconds: 60,
            away_snooze_seconds: 30,
            shares: shares(),
        };
        Throttle::connect(&config, Session { id: clock::new_id(), process: "test".to_owned() }).unwrap()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
