//! A private Redis. It keeps nothing on disk unless asked to, so that a restart is a Redis that lost its data.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Error,
    error::require,
    or_panic, ports,
    supervised::{Kind, Supervised},
};

const PROGRAM: &str = "/usr/bin/redis-server";
const KIND: Kind = Kind { name: "Redis", slug: "redis", stop: "TERM", end: "KILL", grace_seconds: 10 };

/// A running Redis, ended when dropped.
pub struct Redis {
    server: Supervised,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Redis {
    /// Starts a Redis that forgets everything when it ends.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn start() -> Self {
        or_panic("cannot start Redis", Self::try_start().await)
    }

    /// Like [`Redis::start`], for programs that report the error themselves.
    pub async fn try_start() -> Result<Self, Error> {
        Self::launch("--appendonly no").await
    }

    /// Starts a Redis that has every write on disk before it answers, and keeps it over a restart.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn durable() -> Self {
        or_panic("cannot start Redis", Self::launch("--appendonly yes --appendfsync always").await)
    }

    async fn launch(persistence: &str) -> Result<Self, Error> {
        require(PROGRAM, "redis-server")?;
        let server = Supervised::new(&KIND)?;
        let configure = || {
            let [port] = ports::free()?;
            let run = format!(
                "exec {PROGRAM} --bind 127.0.0.1 --port {port} --dir . --save '' {persistence} \
                 --databases 1024 --daemonize no --logfile ''\n"
            );
            server.write("run", &run)?;
            Ok(port)
        };
        let port = server.first_start(configure, async |port| answers(*port).await).await?;
        Ok(Self { server, port })
    }

    /// The URL of database 0.
    pub fn url(&self) -> String {
        self.url_of_database(0)
    }

    /// The URL of one of the 1,024 databases: a test that takes its own shares the server with nobody.
    pub fn url_of_database(&self, number: u16) -> String {
        format!("redis://127.0.0.1:{}/{number}", self.port)
    }

    /// Its directory, with its `log`.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// SIGKILL; returns when it is gone.
    pub async fn kill(&self) {
        self.server.kill().await;
    }

    /// Asks it to end and returns when it has.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Starts it again on the same port: empty, or with its data when it is [durable](Redis::durable).
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn start_again(&self) {
        or_panic(
            "cannot start Redis again",
            self.server.start_again(async || answers(self.port).await).await,
        );
    }
}

/// `+PONG` comes only after the data is loaded.
async fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && answer == *b"+PONG"
}
