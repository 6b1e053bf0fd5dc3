//! A private Postgres with one login that may do anything and trusts whoever connects on 127.0.0.1.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls, error::SqlState};

use crate::{
    Error,
    account::Account,
    certificates::Certificates,
    or_panic, ports,
    supervised::{Kind, Supervised},
};

/// INT is Postgres's fast shutdown; with the data about to be removed the immediate one (QUIT) will do.
const KIND: Kind = Kind { name: "Postgres", slug: "postgres", stop: "INT", end: "QUIT", grace_seconds: 20 };
/// What tests do without: a crash of the machine may cost them the data.
const FAST: &str = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off";

/// What the README asks operators to set.
const SIZED: &str = "-c shared_buffers=2GB -c wal_compression=lz4 -c max_wal_size=8GB";

/// A running Postgres, ended when dropped.
pub struct Postgres {
    server: Supervised,
    authority: String,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Postgres {
    /// Starts a Postgres that does not wait for the disk.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn start() -> Self {
        or_panic("cannot start Postgres", Self::try_start().await)
    }

    /// Like [`Postgres::start`], for programs that report the error themselves.
    pub async fn try_start() -> Result<Self, Error> {
        Self::launch(FAST).await
    }

    /// Starts a Postgres with the durability it has in production.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn durable() -> Self {
        or_panic("cannot start Postgres", Self::launch("").await)
    }

    /// Starts a durable Postgres with the memory and the log of one that has a machine's size.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn sized() -> Self {
        or_panic("cannot start Postgres", Self::launch(SIZED).await)
    }

    /// Starts a durable Postgres whose disk has so many megabytes and no more, for root only: the disk is its own, and gone
    /// with it. One that ended because the disk was full starts again by itself, and [killed](Postgres::kill) it has lost
    /// everything.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn on_a_disk_of(megabytes: u32) -> Self {
        // Only from within its namespace is the disk to be seen, so that is where it is filled and emptied.
        let script = format!(
            "owner=$(stat -c %u:%g data) && mount -t tmpfs -o size={megabytes}m tmpfs data && \
             chown \"$owner\" data && chmod 700 data || exit 1\n\
             (while sleep 0.1; do if [ ! -e fill ]; then rm -f data/ballast; \
             elif [ ! -e data/ballast ]; then head -c {megabytes}M /dev/zero >data/ballast; fi; done) &\n\
             while :; do sh ./serve; sleep 0.3; done\n"
        );
        let settings = "-c max_wal_size=64MB -c min_wal_size=32MB";
        or_panic("cannot start Postgres", Self::start_on(settings, Some(script)).await)
    }

    /// Fills the disk of [`Postgres::on_a_disk_of`] to the last byte, or frees it again.
    ///
    /// # Panics
    /// When its directory cannot be written.
    pub fn fill(&self, full: bool) {
        let wish = self.server.directory().join("fill");
        let done = if full { fs::write(wish, "") } else { fs::remove_file(wish) };
        or_panic("cannot fill Postgres's disk", done.map_err(Error::io("cannot tell the disk of Postgres")));
    }

    async fn launch(durability: &str) -> Result<Self, Error> {
        Self::start_on(durability, None).await
    }

    /// Starts Postgres; `disk` is a script in a mount namespace of its own that serves it by `serve`.
    async fn start_on(durability: &str, disk: Option<String>) -> Result<Self, Error> {
        let programs = programs()?;
        let programs = programs.display();
        let account = Account::for_server(&["postgres", "nobody"])?;
        let prefix = account.prefix()?;
        let server = Supervised::new(&KIND)?;
        let data = server.directory().join("data");
        fs::create_dir(&data).map_err(Error::io("cannot make Postgres's directory"))?;
        account.own(&data)?;
        let certificates = Certificates::issue()?;
        server.write("certificate.pem", &certificates.certificate)?;
        // Postgres takes no key that others may read.
        let key = server.write("key.pem", &certificates.key)?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))
            .map_err(Error::io("cannot protect a key"))?;
        account.own(&key)?;
        let directory = server.directory().display().to_string();
        let configure = || {
            let [port] = ports::free()?;
            let run = format!(
                "[ -f data/PG_VERSION ] || {prefix} {programs}/initdb -D data --username=postgres --auth=trust \
                 --encoding=UTF8 --locale=C.UTF-8 --no-sync || exit 1\n\
                 exec {prefix} {programs}/postgres -D data -p {port} -c listen_addresses=127.0.0.1 \
                 -c unix_socket_directories= -c max_connections=400 -c shared_buffers=128MB -c timezone=UTC \
                 -c max_wal_size=2GB -c ssl=on -c ssl_cert_file={directory}/certificate.pem \
                 -c ssl_key_file={directory}/key.pem {durability}\n"
            );
            match &disk {
                None => server.write("run", &run)?,
                Some(disk) => {
                    server.write("serve", &run)?;
                    server.write("disk", disk)?;
                    server.write("run", "exec unshare --mount --propagation private sh ./disk\n")?
                }
            };
            Ok(port)
        };
        let port = server.first_start(configure, async |port| connect(*port).await.is_ok()).await?;
        Ok(Self { server, authority: certificates.authority, port })
    }

    /// The URL of database `name` with the login that owns everything (a superuser, without a password).
    pub fn owner_url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// The certificate of the authority of its own certificate, which is for `localhost` and 127.0.0.1, as PEM. It takes
    /// connections with TLS and without.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// Makes an empty database.
    ///
    /// # Panics
    /// When Postgres refuses, with its words.
    pub async fn create_database(&self, name: &str) {
        self.execute(&format!("create database {}", quoted(name))).await;
    }

    /// Copies the database `template`, to which nobody may be connected for longer than a moment.
    ///
    /// # Panics
    /// When Postgres refuses, with its words.
    pub async fn create_database_from_template(&self, name: &str, template: &str) {
        self.execute(&format!("create database {} template {}", quoted(name), quoted(template))).await;
    }

    /// Removes a database if it is there, and the connections to it.
    ///
    /// # Panics
    /// When Postgres refuses, with its words.
    pub async fn drop_database(&self, name: &str) {
        self.execute(&format!("drop database if exists {} with (force)", quoted(name))).await;
    }

    /// Asks Postgres to end (clients are cut, transactions rolled back) and returns when it has.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Its directory, with its `log`.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// SIGKILL; returns when it is gone.
    pub async fn kill(&self) {
        self.server.kill().await;
    }

    /// Starts it again on the same data and port.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn start_again(&self) {
        let answers = async || connect(self.port).await.is_ok();
        or_panic("cannot start Postgres again", self.server.start_again(answers).await);
    }

    /// A template is busy while a connection that was just closed is still going away: that is worth a wait.
    async fn execute(&self, statement: &str) {
        let client = or_panic("cannot reach Postgres", connect(self.port).await);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match client.batch_execute(statement).await {
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    let words = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                    panic!("{statement}: {words}");
                }
                Ok(()) => return,
            }
        }
    }
}

async fn connect(port: u16) -> Result<Client, tokio_postgres::Error> {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?connect_timeout=5");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The programs of the newest installed version; Debian keeps them out of the path.
fn programs() -> Result<PathBuf, Error> {
    let missing =
        || Error::Missing { program: "/usr/lib/postgresql/*/bin/postgres".to_owned(), package: "postgresql" };
    fs::read_dir("/usr/lib/postgresql")
        .map_err(|_| missing())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()))
        .map(|path| path.join("bin"))
        .ok_or_else(missing)
}
