//! Whether a server would let a mailbox send: MAIL and RCPT with its own address, then RSET. No message is ever sent.

use model::address::EmailAddress;

use super::Session;
use super::reply::{Class, Reply};
use crate::error::{Error, Kind, Phase};

/// What the server said at each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To MAIL FROM.
    pub sender: Reply,
    /// To RCPT TO, which is asked only when the sender was accepted.
    pub recipient: Option<Reply>,
}

impl Probe {
    /// Whether the mailbox could send to itself.
    pub fn accepted(&self) -> bool {
        self.recipient.as_ref().is_some_and(|reply| reply.class() == Class::Done)
    }

    /// The reply that stood in the way.
    pub fn refusal(&self) -> Option<&Reply> {
        let last = self.recipient.as_ref().unwrap_or(&self.sender);
        (last.class() != Class::Done).then_some(last)
    }
}

impl Session {
    /// MAIL FROM and RCPT TO with `address`, then RSET. A refusal is an answer, not an error.
    #[tracing::instrument(name = "smtp.probe", skip_all, err(level = "debug"))]
    pub async fn probe(&mut self, address: &EmailAddress) -> Result<Probe, Error> {
        self.begin(Phase::Envelope).await?;
        if address.needs_utf8() && !self.capabilities.smtp_utf8 {
            self.end();
            return Err(self
                .open_wire()?
                .error(Kind::Unsupported("SMTPUTF8 (for the mailbox's own address)")));
        }
        let parameter = if address.needs_utf8() { " SMTPUTF8" } else { "" };
        let sender = self.command(&format!("MAIL FROM:<{}>{parameter}", address.as_str())).await?;
        self.answered(&sender)?;
        let mut recipient = None;
        if sender.class() == Class::Done {
            let reply = self.command(&format!("RCPT TO:<{}>", address.as_str())).await?;
            self.answered(&reply)?;
            recipient = Some(reply);
        }
        self.forget_transaction().await?;
        self.end();
        Ok(Probe { sender, recipient })
    }

    /// Yes or no, now or for good; anything else is a violation.
    pub(super) fn answered(&mut self, reply: &Reply) -> Result<(), Error> {
        if reply.class() == Class::GoOn { Err(self.refused(reply)) } else { Ok(()) }
    }
}
