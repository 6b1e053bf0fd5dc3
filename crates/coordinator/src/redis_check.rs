//! Whether a Redis is fit to be the ledger: reachable, and never throwing keys away on its own.

use std::fmt;

use model::secret::ExposeSecret as _;

use crate::config::Config;

/// Why a Redis is no ledger, with the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedisProblem {
    /// It does not answer.
    #[error("Redis does not answer ({why}); check `coordinator.redis_url` and that Redis runs")]
    Away {
        /// What the client said; never the URL.
        why: String,
    },
    /// It evicts keys when memory is short: a lost lease is one connection too many.
    #[error(
        "Redis evicts keys (maxmemory-policy {policy}), which would lose leases; set `maxmemory-policy noeviction`"
    )]
    Evicts {
        /// The policy it has.
        policy: String,
    },
}

/// A Redis that is fit to be the ledger.
#[derive(Debug)]
pub struct RedisReport {
    /// As Redis names its version.
    pub version: String,
    /// It has every write in a log: when it is started again nothing is lost, and nobody has to be quiet.
    pub keeps: bool,
}

impl fmt::Display for RedisReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = if self.keeps {
            "keeps a log of its writes"
        } else {
            "keeps no log of its writes: when it is started again, nothing is granted for \
             `coordinator.quiet_after_loss_millis`; set `appendonly yes`"
        };
        write!(f, "Redis {}, never evicts, {log}", self.version)
    }
}

/// Asks Redis once. `doctor` shows the answer; a starting coordinator warns of a problem.
pub async fn check_redis(config: &Config) -> Result<RedisReport, RedisProblem> {
    let away = |error: redis::RedisError| RedisProblem::Away { why: error.category().to_owned() };
    let ask = async {
        let client = redis::Client::open(config.redis_url.expose_secret())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("INFO").query_async::<String>(&mut connection).await
    };
    let info = tokio::time::timeout(config.redis_timeout(), ask)
        .await
        .map_err(|_| RedisProblem::Away { why: "no answer in time".to_owned() })?
        .map_err(away)?;
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match field("maxmemory_policy:") {
        Some("noeviction") | None => {
            let version = field("redis_version:").unwrap_or("of unknown version").to_owned();
            Ok(RedisReport { version, keeps: field("aof_enabled:") == Some("1") })
        }
        Some(policy) => Err(RedisProblem::Evicts { policy: policy.to_owned() }),
    }
}
