//! What `doctor` asks of `RabbitMQ`. It looks and changes nothing: a queue that is missing stays missing.

use std::fmt;

use crate::connection::{Link, blocked, within};
use crate::topology::{declare_one, depth};
use crate::{Config, Depth, Error, Queue, topology};

/// What was found at a broker that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The queues that exist, declared as they must be.
    pub queues: Vec<Depth>,
    /// The queues that do not exist yet; the scheduler declares them when it starts.
    pub missing: Vec<Queue>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.queues.is_empty() {
            return f.write_str("no queues yet; the scheduler declares them when it starts");
        }
        f.write_str("messages waiting: ")?;
        for (at, depth) in self.queues.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", depth.queue, depth.messages)?;
        }
        for queue in &self.missing {
            write!(f, "; {queue} is missing and is declared when the scheduler starts")?;
        }
        Ok(())
    }
}

/// Connects, compares the queues with the topology and asks whether messages are accepted. One try; every error
/// says what to do.
pub async fn check(config: &Config) -> Result<Report, Error> {
    let link = Link::new(config, "lockstep doctor")?;
    let connection = link.connection().await?;
    within(config.confirm_timeout(), async {
        let mut report = Report { queues: Vec::new(), missing: Vec::new() };
        for declaration in topology(config.message_ttl()) {
            match depth(&connection, declaration.queue).await? {
                None => report.missing.push(declaration.queue),
                Some(found) => {
                    // Declaring what exists changes nothing and is refused when an argument differs.
                    declare_one(&connection, &declaration).await?;
                    report.queues.push(found);
                }
            }
        }
        match blocked(&connection).await? {
            Some(reason) => Err(Error::Blocked { reason }),
            None => Ok(report),
        }
    })
    .await
}
