//! A private `RabbitMQ` node with its management interface and an epmd of its own, which would otherwise stay behind.

mod http;

use std::{fmt::Write as _, fs, path::Path};

use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::{
    Error,
    certificates::Certificates,
    error::require,
    or_panic, ports,
    supervised::{Kind, Supervised},
};

/// Not `/usr/sbin`: Debian's wrappers there insist on the account of the system's own node.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const EPMD: &str = "/usr/bin/epmd";
const NODE: Kind = Kind { name: "RabbitMQ", slug: "rabbitmq", stop: "TERM", end: "KILL", grace_seconds: 30 };
const NAMES: Kind = Kind { name: "epmd", slug: "epmd", stop: "TERM", end: "KILL", grace_seconds: 5 };

/// A running `RabbitMQ`, ended when dropped. The user `guest` may do everything.
pub struct RabbitMq {
    node: Supervised,
    /// Held for its end: the node and its command line find each other through it.
    _epmd: Supervised,
    /// Where AMQP is spoken on 127.0.0.1.
    pub port: u16,
    /// Where AMQP is spoken over TLS, with a certificate for `localhost` and 127.0.0.1.
    pub tls_port: u16,
    authority: String,
    /// Where the management HTTP interface listens on 127.0.0.1.
    pub management_port: u16,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    tls: u16,
    management: u16,
    distribution: u16,
}

impl RabbitMq {
    /// Starts a node; this takes some seconds, so tests share one and take a virtual host each.
    ///
    /// # Panics
    /// When it cannot be started, with the cause.
    pub async fn start() -> Self {
        or_panic("cannot start RabbitMQ", Self::try_start().await)
    }

    /// Like [`RabbitMq::start`], for programs that report the error themselves.
    pub async fn try_start() -> Result<Self, Error> {
        let server = format!("{PROGRAMS}/rabbitmq-server");
        require(&server, "rabbitmq-server")?;
        require(EPMD, "erlang-base")?;
        let (epmd, names_port) = start_epmd().await?;
        let node = Supervised::new(&NODE)?;
        let certificates = Certificates::issue()?;
        for (name, content) in [
            ("authority.pem", &certificates.authority),
            ("certificate.pem", &certificates.certificate),
            ("key.pem", &certificates.key),
        ] {
            node.write(name, content)?;
        }
        let configure = || {
            let [amqp, tls, management, distribution] = ports::free()?;
            let ports = Ports { amqp, tls, management, distribution };
            configure(&node, ports, names_port)?;
            Ok(ports)
        };
        let ports =
            node.first_start(configure, async |ports| answers(ports.amqp, ports.management).await).await?;
        Ok(Self {
            node,
            _epmd: epmd,
            port: ports.amqp,
            tls_port: ports.tls,
            authority: certificates.authority,
            management_port: ports.management,
        })
    }

    /// The URI of a virtual host; `/` is there from the beginning.
    pub fn amqp_uri(&self, virtual_host: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.port, percent_encoded(virtual_host))
    }

    /// The same over TLS, by this host name.
    pub fn amqps_uri(&self, host: &str, virtual_host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/{}", self.tls_port, percent_encoded(virtual_host))
    }

    /// The certificate of the authority of its own certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// Makes a virtual host in which `guest` may do everything.
    ///
    /// # Panics
    /// When `RabbitMQ` refuses, with its words.
    pub async fn create_vhost(&self, name: &str) {
        let name = percent_encoded(name);
        self.manage("PUT", &format!("/api/vhosts/{name}"), "{}").await;
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        self.manage("PUT", &format!("/api/permissions/{name}/guest"), everything).await;
    }

    /// Removes a virtual host with its queues, if it is there, and cuts its connections.
    ///
    /// # Panics
    /// When `RabbitMQ` refuses, with its words.
    pub async fn delete_vhost(&self, name: &str) {
        self.manage("DELETE", &format!("/api/vhosts/{}", percent_encoded(name)), "").await;
    }

    /// How many messages of a queue wait for a consumer: those delivered and not yet acknowledged do not count.
    ///
    /// # Panics
    /// When there is no such queue or the node does not answer.
    pub async fn queue_depth(&self, virtual_host: &str, queue: &str) -> u32 {
        let asked = async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&self.amqp_uri(virtual_host), properties).await?;
            let channel = connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let depth =
                channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count();
            connection.close(200, "".into()).await?;
            Ok::<_, lapin::Error>(depth)
        };
        or_panic("cannot read the depth of a queue", asked.await)
    }

    /// Raises or clears the disk alarm: while it is raised the node blocks every connection that publishes.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn set_disk_alarm(&self, raised: bool) {
        // No disk has a petabyte to spare.
        self.control(&["set_disk_free_limit", if raised { "1000000GB" } else { "1MB" }]).await;
    }

    /// Its directory, with its `log`.
    pub fn directory(&self) -> &Path {
        self.node.directory()
    }

    /// SIGKILL to the node; returns when it is gone.
    pub async fn kill(&self) {
        self.node.kill().await;
    }

    /// Asks the node to end and returns when it has.
    pub async fn stop(&self) {
        self.node.stop().await;
    }

    /// Removes everything that a stopped node has on disk: it starts as one that has never run, with `/` and `guest` alone.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub fn wipe(&self) {
        let data = self.node.directory().join("mnesia");
        let removed = fs::remove_dir_all(&data).map_err(Error::io("cannot remove RabbitMQ's data"));
        or_panic("cannot wipe RabbitMQ", removed);
    }

    /// Starts the node again on the same ports with what was durable.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn start_again(&self) {
        let answers = async || answers(self.port, self.management_port).await;
        or_panic("cannot start RabbitMQ again", self.node.start_again(answers).await);
    }

    /// Runs `rabbitmqctl` against this node and returns what it printed. It takes a second or two.
    ///
    /// # Panics
    /// When the command fails, with its words.
    pub async fn control(&self, arguments: &[&str]) -> String {
        let script = self.node.directory().join("control");
        let mut command = Command::new("/bin/sh");
        command.arg(script).args(arguments).current_dir(self.node.directory()).kill_on_drop(true);
        let output = or_panic("cannot run rabbitmqctl", command.output().await);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?} failed: {words}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn manage(&self, method: &str, path: &str, body: &str) {
        // Everything that is asked here may be asked twice.
        let mut answer = http::ask(self.management_port, method, path, body).await;
        for _ in 0..2 {
            if answer.is_err() {
                answer = http::ask(self.management_port, method, path, body).await;
            }
        }
        let (status, words) = or_panic("cannot reach RabbitMQ's management interface", answer);
        let gone = method == "DELETE" && status == 404;
        assert!((200..300).contains(&status) || gone, "{method} {path} was refused with {status}: {words}");
    }
}

async fn start_epmd() -> Result<(Supervised, u16), Error> {
    let epmd = Supervised::new(&NAMES)?;
    let configure = || {
        let [port] = ports::free()?;
        epmd.write("run", &format!("exec {EPMD} -address 127.0.0.1 -port {port}\n"))?;
        Ok(port)
    };
    let answers = async |port: &u16| TcpStream::connect(("127.0.0.1", *port)).await.is_ok();
    let port = epmd.first_start(configure, answers).await?;
    Ok((epmd, port))
}

fn configure(node: &Supervised, ports: Ports, names_port: u16) -> Result<(), Error> {
    let Ports { amqp, tls, management, distribution } = ports;
    let directory = node.directory().display();
    node.write("enabled_plugins", "[rabbitmq_management].\n")?;
    node.write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             listeners.ssl.1 = 127.0.0.1:{tls}\n\
             ssl_options.cacertfile = {directory}/authority.pem\n\
             ssl_options.certfile = {directory}/certificate.pem\n\
             ssl_options.keyfile = {directory}/key.pem\n\
             ssl_options.verify = verify_none\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             vm_memory_high_watermark.absolute = 2GB\n\
             disk_free_limit.absolute = 1MB\n\
             log.console = true\n\
             log.console.level = warning\n\
             log.file = false\n"
        ),
    )?;
    let environment = environment(node.directory(), amqp, distribution, names_port);
    node.write("run", &format!("{environment}exec {PROGRAMS}/rabbitmq-server\n"))?;
    node.write("control", &format!("{environment}exec {PROGRAMS}/rabbitmqctl --quiet \"$@\"\n"))?;
    Ok(())
}

/// Everything that would otherwise be found in the system's places.
fn environment(directory: &Path, amqp: u16, distribution: u16, names_port: u16) -> String {
    let directory = directory.display();
    let mut script = String::new();
    for (name, value) in [
        ("HOME", format!("{directory}")),
        ("RABBITMQ_BASE", format!("{directory}")),
        ("RABBITMQ_MNESIA_BASE", format!("{directory}/mnesia")),
        ("RABBITMQ_LOG_BASE", format!("{directory}/logs")),
        ("RABBITMQ_CONFIG_FILE", format!("{directory}/rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", format!("{directory}/advanced.config")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{directory}/enabled_plugins")),
        ("RABBITMQ_PID_FILE", format!("{directory}/node.pid")),
        ("RABBITMQ_NODENAME", "lockstep@localhost".to_owned()),
        ("RABBITMQ_NODE_PORT", amqp.to_string()),
        ("RABBITMQ_DIST_PORT", distribution.to_string()),
        ("ERL_EPMD_PORT", names_port.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // The distribution listens on loopback only, and idle schedulers leave the processor to others.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none".to_owned(),
        ),
    ] {
        let _ = writeln!(script, "export {name}='{value}'");
    }
    script
}

/// The listeners open late in the node's start; the management interface knows the virtual hosts when it answers.
async fn answers(amqp: u16, management: u16) -> bool {
    let Ok((200, _)) = http::ask(management, "GET", "/api/vhosts", "").await else { return false };
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", amqp)).await else { return false };
    let mut greeting = [0; 1];
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.is_ok()
        && stream.read_exact(&mut greeting).await.is_ok()
        && greeting == [1]
}

fn percent_encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
