//! What can go wrong with the broker, told apart by who has to do what.

use crate::Queue;

/// Why something could not be done with `RabbitMQ`. Each text says the cause and the remedy; none shows credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct the configuration.
    #[error(
        "`broker.url` cannot be used: {problem}; write it as amqp://USER:PASSWORD@HOST:5672/VHOST, or with amqps:// \
         for TLS (the virtual host `/` is written %2f)"
    )]
    Address {
        /// What is wrong with it.
        problem: String,
    },
    /// Correct the configuration.
    #[error(
        "`broker.ca_file` `{file}` cannot be read: {cause}; name a PEM file with certificates, or leave it empty"
    )]
    Authorities {
        /// The file.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// Start `RabbitMQ` or correct its address; trying again may help by itself.
    #[error("RabbitMQ at {place} cannot be reached: {cause}; is it running, and is `broker.url` right?")]
    Unreachable {
        /// `host:port`.
        place: String,
        /// What the network said.
        cause: String,
    },
    /// Correct the scheme or the port, or make the certificate's authority known.
    #[error(
        "no TLS with RabbitMQ at {place}: {cause}; the port must be the one for TLS (usually 5671), and the \
         certificate must name the host and come from an authority that this machine knows (`broker.ca_file` names \
         others); without TLS write amqp://"
    )]
    Tls {
        /// `host:port`.
        place: String,
        /// What the handshake ended with.
        cause: String,
    },
    /// Correct user, password or permissions.
    #[error(
        "RabbitMQ at {place} refuses the user of `broker.url`: {answer}; correct user and password, or grant it the \
         virtual host: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'"
    )]
    Denied {
        /// `host:port`.
        place: String,
        /// The broker's words.
        answer: String,
    },
    /// Create the virtual host.
    #[error(
        "RabbitMQ at {place} does not open the virtual host `{vhost}`: {answer}; create it with `rabbitmqctl \
         add_vhost {vhost}` or correct the end of `broker.url`"
    )]
    VirtualHost {
        /// `host:port`.
        place: String,
        /// The virtual host asked for.
        vhost: String,
        /// The broker's words.
        answer: String,
    },
    /// Delete the queue, so that it is declared as it must be.
    #[error(
        "the queue {queue} exists with other arguments than Lockstep declares ({answer}); delete it with \
         `rabbitmqctl delete_queue {queue} --vhost VHOST`: it is declared again at once, and what was in it becomes \
         due again by itself"
    )]
    Topology {
        /// The queue.
        queue: Queue,
        /// The broker's words, which name the argument.
        answer: String,
    },
    /// Start the scheduler, which declares the queues; trying again helps then.
    #[error("the queue {queue} does not exist; the scheduler declares it when it starts")]
    Missing {
        /// The queue.
        queue: Queue,
    },
    /// Give the broker memory or disk.
    #[error(
        "RabbitMQ accepts no messages at present ({reason}); free memory or disk space on its machine: rabbitmqctl \
         status shows the alarm"
    )]
    Blocked {
        /// The broker's words.
        reason: String,
    },
    /// Try again: the connection was lost or did not answer in time.
    #[error("the connection to RabbitMQ was lost: {cause}; it is made again by itself")]
    Lost {
        /// What happened.
        cause: String,
    },
}

impl Error {
    /// Whether only a person can put it right; everything else is tried again by itself.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::Authorities { .. }
            | Self::Tls { .. }
            | Self::Denied { .. }
            | Self::VirtualHost { .. }
            | Self::Topology { .. } => true,
            Self::Unreachable { .. } | Self::Missing { .. } | Self::Blocked { .. } | Self::Lost { .. } => {
                false
            }
        }
    }
}

/// Any failure on a connection that stood: it is made again.
impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        Self::Lost { cause: error.to_string() }
    }
}
