//! The ledger in Redis: one script, called with a batch of requests, and what it answers.
//!
//! This is the only place that writes leases. A call that failed may have been carried out all the same; whoever
//! called must then take back what it would have granted.

#[cfg(test)]
mod model;
pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod wakes;

use std::fmt::Write as _;
use std::time::Duration;

use ::model::secret::{ExposeSecret as _, Secret};
use ::model::workload::ServiceClass;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult, Script, ScriptInvocation};
use throttle::Quota;
use uuid::Uuid;

use crate::config::Config;

/// One request as the script reads it.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Take one slot of every limit, or queue for them.
    Acquire { claim: Claim, wait: Duration, again: bool },
    /// Keep a lease.
    Renew { id: Uuid, stream: Uuid },
    /// Give a lease or a place in the queue back; with a stream, only what is still bound to it.
    Release { id: Uuid, stream: Option<Uuid> },
    /// A stream was seen to end.
    Ended { stream: Uuid },
    /// Grant nothing under a key for a time.
    BackOff { key: String, pause: Duration },
    /// Call those who may have a slot under a key.
    Poke { key: String },
}

/// What a lease is asked for, checked and ready for the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) id: Uuid,
    pub(crate) stream: Uuid,
    pub(crate) class: ServiceClass,
    pub(crate) limits: Vec<ClaimedLimit>,
    pub(crate) holder: String,
    pub(crate) in_doubt: Duration,
}

/// A limit with what it allows, as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedLimit {
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) config: String,
}

/// What the script said to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    /// In the queue; a wake follows.
    Waiting,
    /// Not in time.
    Full {
        key: String,
    },
    HeldBack {
        pause: Duration,
        key: String,
    },
    /// The ledger lost its data and grants nothing yet.
    Quiet {
        pause: Duration,
    },
    Renewed,
    Lost,
    /// A release that freed a lease.
    Freed,
    /// Done, with nothing to say.
    Noted,
}

/// What one call brought.
#[derive(Debug)]
pub(crate) struct Answer {
    /// One verdict per request, in order.
    pub(crate) verdicts: Vec<Verdict>,
    /// Requests of this coordinator that may be granted now.
    pub(crate) wakes: Vec<Uuid>,
}

/// A coordinator's connection to the ledger. It connects at each call that finds it without a connection.
pub(crate) struct Ledger {
    client: redis::Client,
    script: Script,
    connection: Option<MultiplexedConnection>,
    prefix: String,
    coordinator: Uuid,
    timeout: Duration,
    lease: Duration,
    silent: Duration,
    quiet_after_loss: u64,
    epoch: String,
}

/// After how long without a call the requests of a coordinator lose their places.
const SILENT: Duration = Duration::from_secs(2);

impl Ledger {
    pub(crate) fn new(config: &Config, coordinator: Uuid) -> RedisResult<Self> {
        Ok(Self {
            client: open(&config.redis_url)?,
            script: Script::new(include_str!("ledger/script.lua")),
            connection: None,
            prefix: config.prefix(),
            coordinator,
            timeout: config.redis_timeout(),
            lease: config.lease(),
            silent: SILENT,
            quiet_after_loss: config.quiet_after_loss_millis,
            epoch: String::new(),
        })
    }

    /// Decides a batch. After an error nothing is known of any of its requests.
    pub(crate) async fn decide(&mut self, requests: &[Request]) -> RedisResult<Answer> {
        let decided = self.call(requests).await;
        if decided.is_err() {
            // Late answers of a broken connection must not be taken for those of the next call.
            self.connection = None;
        }
        decided
    }

    async fn call(&mut self, requests: &[Request]) -> RedisResult<Answer> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.prefix)
            .arg(self.coordinator.to_string())
            .arg(whole_millis(self.lease))
            .arg(whole_millis(self.silent))
            .arg(self.quiet_after_loss)
            .arg(&self.epoch);
        for request in requests {
            request.write(&mut call);
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(connect(&self.client, self.timeout).await?),
        };
        let (epoch, verdicts, wakes): (String, Vec<String>, Vec<String>) =
            call.invoke_async(connection).await?;
        if !self.epoch.is_empty() && self.epoch != epoch {
            tracing::error!(
                "Redis lost the ledger; nothing is granted until every lease given before has ended"
            );
        }
        self.epoch = epoch;
        if verdicts.len() != requests.len() {
            return Err(unexpected("the script answered another number of requests"));
        }
        Ok(Answer {
            verdicts: verdicts.iter().map(|verdict| Verdict::read(verdict)).collect::<RedisResult<_>>()?,
            wakes: wakes.iter().filter_map(|id| id.parse().ok()).collect(),
        })
    }
}

impl Request {
    fn write(&self, call: &mut ScriptInvocation<'_>) {
        match self {
            Self::Acquire { claim, wait, again } => {
                call.arg("a")
                    .arg(claim.id.to_string())
                    .arg(claim.stream.to_string())
                    .arg(u8::from(*again))
                    .arg(class_number(claim.class))
                    .arg(whole_millis(*wait))
                    .arg(&claim.holder)
                    .arg(whole_millis(claim.in_doubt))
                    .arg(claim.limits.len());
                for limit in &claim.limits {
                    call.arg(&limit.key).arg(limit.version).arg(&limit.config);
                }
            }
            Self::Renew { id, stream } => {
                call.arg("n").arg(id.to_string()).arg(stream.to_string());
            }
            Self::Release { id, stream } => {
                let stream = stream.map(|stream| stream.to_string()).unwrap_or_default();
                call.arg("r").arg(id.to_string()).arg(stream);
            }
            Self::Ended { stream } => {
                call.arg("e").arg(stream.to_string());
            }
            Self::BackOff { key, pause } => {
                call.arg("b").arg(key).arg(whole_millis(*pause));
            }
            Self::Poke { key } => {
                call.arg("p").arg(key);
            }
        }
    }
}

impl Verdict {
    fn read(text: &str) -> RedisResult<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let pause = |millis: &str| {
            millis.parse().map(Duration::from_millis).map_err(|_| unexpected("the script gave no number"))
        };
        Ok(match word {
            "granted" => Self::Granted,
            "waiting" => Self::Waiting,
            "full" => Self::Full { key: rest.to_owned() },
            "held" => {
                let (millis, key) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::HeldBack { pause: pause(millis)?, key: key.to_owned() }
            }
            "quiet" => Self::Quiet { pause: pause(rest)? },
            "renewed" => Self::Renewed,
            "lost" => Self::Lost,
            "freed" => Self::Freed,
            _ => Self::Noted,
        })
    }
}

impl ClaimedLimit {
    /// Writes quotas the way the script reads them.
    pub(crate) fn new(
        key: String,
        version: u64,
        capacity: u32,
        spare_for_watch: bool,
        quotas: &[Quota],
    ) -> Self {
        let mut config = format!("{capacity} {}", u8::from(spare_for_watch));
        for quota in quotas {
            let number = class_number(quota.class);
            // Writing to a String cannot fail.
            write!(config, " {number}:{}:{}", quota.minimum, quota.ceiling).ok();
        }
        Self { key, version, config }
    }
}

/// The class as the ledger numbers it: 1 to 5, the order of [`ServiceClass::ALL`].
pub(crate) fn class_number(class: ServiceClass) -> usize {
    ServiceClass::ALL.iter().position(|known| *known == class).map_or(0, |at| at + 1)
}

pub(crate) fn open(url: &Secret) -> RedisResult<redis::Client> {
    redis::Client::open(url.expose_secret())
}

pub(crate) async fn connect(client: &redis::Client, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}

pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

pub(crate) fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, what))
}
