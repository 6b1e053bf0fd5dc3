//! The servers that installations share: one Postgres, `RabbitMQ`, Redis, Dovecot and Postfix for a whole test binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use servers::{MailOptions, MailServers, Postgres, RabbitMq, Redis};
use tokio::sync::OnceCell;

/// Running servers, ended when the last holder lets go.
pub struct Servers {
    /// One database for each installation.
    pub postgres: Postgres,
    /// One virtual host for each installation.
    pub rabbitmq: RabbitMq,
    /// One database for each installation.
    pub redis: Redis,
    /// Shared: addresses and ports of their own keep installations apart.
    pub mail: MailServers,
    redis_databases: AtomicU16,
}

static SHARED: OnceCell<Arc<Servers>> = OnceCell::const_new();

impl Servers {
    /// Starts servers of their own.
    pub async fn start() -> Result<Arc<Self>, servers::Error> {
        let (postgres, rabbitmq, redis, mail) = tokio::try_join!(
            Postgres::try_start(),
            RabbitMq::try_start(),
            Redis::try_start(),
            MailServers::try_start(MailOptions::default()),
        )?;
        Ok(Arc::new(Self { postgres, rabbitmq, redis, mail, redis_databases: AtomicU16::new(0) }))
    }

    /// Starts servers of their own around this Postgres.
    pub async fn around(postgres: Postgres) -> Result<Arc<Self>, servers::Error> {
        let (rabbitmq, redis, mail) = tokio::try_join!(
            RabbitMq::try_start(),
            Redis::try_start(),
            MailServers::try_start(MailOptions::default()),
        )?;
        Ok(Arc::new(Self { postgres, rabbitmq, redis, mail, redis_databases: AtomicU16::new(0) }))
    }

    /// The servers of this process, started by whoever asks first.
    ///
    /// # Panics
    /// When they cannot be started, with the cause.
    pub async fn shared() -> Arc<Self> {
        let start = async || match Self::start().await {
            Ok(servers) => servers,
            Err(error) => panic!("the servers cannot be started: {error}"),
        };
        Arc::clone(SHARED.get_or_init(start).await)
    }

    /// A Redis database that nobody else was given.
    pub(crate) fn redis_url(&self) -> String {
        self.redis.url_of_database(self.redis_databases.fetch_add(1, Ordering::SeqCst))
    }
}
