//! Message submission over SMTP (RFC 6409): a session is opened once and takes a batch of messages.
//!
//! It must never leave a doubt that the caller does not see: an `Err` means that nobody got the message, and what may
//! have left is [`Outcome::Unknown`]. It signs in inside TLS only, and never speaks where an earlier answer is still owed.
//!
//! ```no_run
//! # extern crate lockstep_mail as mail;
//! # use mail::smtp::{Envelope, Outcome, RecipientState, Session, Settings, whole};
//! # use mail::Error;
//! # use model::{endpoint::Endpoint, secret::Secret};
//! # async fn lease_is_held() -> Result<(), Error> { Ok(()) }
//! # async fn example(endpoint: Endpoint, settings: Settings, password: Secret, envelope: Envelope, raw: &[u8]) -> Result<(), Error> {
//! let mut session = Session::open(&endpoint, &settings, "anna", &password).await?;
//! // Build the message for `session.capabilities()`, commit that it is being sent, and only then:
//! let submission = session.submit(&envelope, whole(raw), lease_is_held()).await?; // an Err: nobody got it
//! match &submission.outcome {
//!     Outcome::Sent(reply) => println!("taken for {} of them: {}", submission.accepted(), reply.code()),
//!     Outcome::Refused { step, reply } => println!("nobody got it: {} at {step:?}", reply.code()),
//!     Outcome::Unknown(error) => println!("it may have been delivered, or not: {error}"),
//! }
//! for (recipient, state) in envelope.recipients.iter().zip(&submission.recipients) {
//!     println!("{recipient:?} is accepted: {}", matches!(state, RecipientState::Accepted(_)));
//! }
//! if session.is_open() {
//!     // the next message of the batch; else open another session
//! }
//! session.quit().await;
//! # Ok(())
//! # }
//! ```

mod auth;
mod capabilities;
mod conversation;
mod open;
mod probe;
mod reply;
mod settings;
mod stuffing;
mod submission;
mod submit;

use std::fmt;

use futures_util::FutureExt as _;

pub use capabilities::{Capabilities, SizeLimit};
pub use probe::Probe;
pub use reply::{Class, EnhancedCode, Reply};
pub use settings::{ClientName, InvalidClientName, Settings};
pub use submission::{Envelope, Outcome, RecipientState, Reports, Step, Submission};
pub use submit::whole;

use crate::error::{Error, Phase};
use crate::transport::Connection;

/// A signed-in connection to a submission server. Takes one message after the other.
///
/// Dropping it resets the connection; [`Session::quit`] ends it in an orderly way. Dropping the future of a method in
/// the middle leaves a session that is not open any more.
pub struct Session {
    /// None once nothing more may be said on it.
    connection: Option<Connection>,
    /// An answer is owed: what is set here when a call begins was left behind by a call that was dropped.
    busy: bool,
    /// A transaction was begun that the server may not have forgotten: RSET comes before the next one.
    unfinished: bool,
    /// The final dot of the latest message may have left.
    dot_left: bool,
    capabilities: Capabilities,
    settings: Settings,
}

impl Session {
    /// What the server announced after TLS and before sign-in.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether another message can be given to this session. Looks at what has already arrived, and does not wait: a
    /// server that has said goodbye or closed between two messages is noticed here.
    pub fn is_open(&mut self) -> bool {
        if self.busy {
            self.connection = None;
        }
        if let Some(connection) = &mut self.connection {
            connection.begin(Phase::Envelope);
            let silent = connection.buffer().is_empty() && connection.fill().now_or_never().is_none();
            if !silent && (connection.buffer().is_empty() || connection.buffer().starts_with(b"421")) {
                self.connection = None;
            }
        }
        self.connection.is_some()
    }

    /// Whether the final dot of the latest message may have left. For a caller that dropped the future of
    /// [`Session::submit`]: false means that the message was not sent, true that its fate is unknown.
    pub fn may_have_sent(&self) -> bool {
        self.dot_left
    }

    /// RSET: the server forgets the transaction. Any other answer than 250 closes the session.
    pub async fn reset(&mut self) -> Result<(), Error> {
        self.begin(Phase::Envelope).await?;
        self.forget_transaction().await?;
        self.end();
        Ok(())
    }

    /// NOOP: whether the server still answers.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.begin(Phase::Envelope).await?;
        let reply = self.command("NOOP").await?;
        self.end();
        self.done(&reply)
    }

    /// QUIT, and an orderly end. A session that is not open is dropped without a word; a server that does not answer
    /// QUIT makes no error, because everything was settled before.
    pub async fn quit(mut self) {
        if self.is_open() && self.begin(Phase::Quit).await.is_ok() {
            let _ = self.command("QUIT").await;
            if let Some(connection) = self.connection.take() {
                connection.close().await;
            }
        }
    }

    async fn forget_transaction(&mut self) -> Result<(), Error> {
        let reply = self.command("RSET").await?;
        self.done(&reply)?;
        self.unfinished = false;
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
