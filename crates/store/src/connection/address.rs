//! Where Postgres is: reading its address, and connections outside of the pool. An address never shows its password.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, poll_fn};
use model::secret::{ExposeSecret as _, Secret};
use tokio_postgres::NoTls;

use super::tls;
use crate::{Error, Result};

/// A connection string, taken apart.
pub(crate) struct Parsed {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: bool,
}

/// Reads a connection string. `verify-ca` and `verify-full` are accepted as what `require` already means here.
pub(crate) fn parse(url: &Secret) -> Result<Parsed> {
    let url = url.expose_secret().replace("sslmode=verify-full", "sslmode=require");
    let url = url.replace("sslmode=verify-ca", "sslmode=require");
    let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        // The cause names the unreadable part and never repeats the password.
        Error::Broken(format!("database.url cannot be read ({error}); write postgres://login@host:port/name"))
    })?;
    // A server that vanished without a word is noticed within a minute, also by a connection that only listens.
    config
        .keepalives_idle(Duration::from_secs(20))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    let tls = config.get_ssl_mode() == tokio_postgres::config::SslMode::Require;
    Ok(Parsed { config, tls })
}

/// One connection outside of the pool, for what lives longer than a transaction or signs in as somebody else.
/// Its driver runs until the client is dropped.
pub(crate) async fn connect(
    url: &Secret,
    ca_file: &str,
) -> Result<(tokio_postgres::Client, BoxStream<'static, Message>)> {
    let Parsed { config, tls } = parse(url)?;
    if tls {
        let (client, connection) = config.connect(tls::connector(ca_file)?).await?;
        Ok((client, messages(connection)))
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, messages(connection)))
    }
}

/// What Postgres says outside of answers.
pub(crate) type Message = std::result::Result<tokio_postgres::AsyncMessage, tokio_postgres::Error>;

fn messages<S, T>(mut connection: tokio_postgres::Connection<S, T>) -> BoxStream<'static, Message>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    poll_fn(move |context| connection.poll_message(context)).boxed()
}
