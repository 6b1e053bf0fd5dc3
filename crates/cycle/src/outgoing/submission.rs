//! One message: built, given to the server up to the final dot, and its answer written down whoever holds the claim by
//! then.

use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::mime::{self, BuiltMessage};
use mail::smtp::{self, Envelope, Outcome, RecipientState, Step, Submission};
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState as State, SendAnswer, retry_after};
use model::id::{EmailId, OrganizationId};
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::change::Author;
use store::outgoing::{Answer, Attempt, DueRecipient, RecipientAnswer};
use store::{Store, Tenant, alert, outgoing};
use tracing::Instrument as _;

use super::{Sending, Sent};
use crate::ending::Interrupted;
use crate::servers::MEGABYTE;

/// How often an answer is tried to be written. After that the email stays in Sending, and the next claim finds it in
/// doubt: better than to guess.
const WRITE_TRIES: u32 = 10;

/// Why a message was held back before its final dot.
enum Held {
    Mail(mail::Error),
    LeaseLost,
}

impl From<mail::Error> for Held {
    fn from(error: mail::Error) -> Self {
        Self::Mail(error)
    }
}

/// What is to be told about a try.
struct Told {
    kind: AlertKind,
    parameters: Value,
    said: Option<String>,
}

impl Sending<'_> {
    pub(super) async fn submit(
        &self,
        session: &mut smtp::Session,
        attempt: Attempt,
    ) -> Result<Sent, Interrupted> {
        let built = match self.built(&attempt).await {
            Ok(built) => built,
            Err(why) => return self.refuse(&attempt, &why, None).await,
        };
        let bytes = built.size as u64;
        let envelope = Envelope {
            from: attempt.message.from.address.clone(),
            recipients: attempt.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            size: bytes,
            eight_bit: built.needs_eight_bit,
            utf8: built.needs_utf8,
        };
        let may_go_on = async { if (self.may_go_on)() { Ok(()) } else { Err(Held::LeaseLost) } };
        match session.submit(&envelope, smtp::whole(&built.bytes), may_go_on).await {
            Ok(submission) => self.answered(&attempt, submission, bytes).await,
            Err(Held::LeaseLost) => {
                self.write(not_sent(&attempt, None, Duration::ZERO), None).await?;
                Ok(Sent::Over(Interrupted::LeaseLost))
            }
            Err(Held::Mail(error)) if is_about_the_message(&error) => {
                self.refuse(&attempt, &error.to_string(), error.said()).await
            }
            Err(Held::Mail(error)) => {
                let tries = tries(&attempt);
                self.write(not_sent(&attempt, error.said(), retry_after(tries + 1)), None).await?;
                Ok(match error.kind() {
                    // A server that is leaving is no message's fault, however often.
                    Kind::Unavailable => Sent::Over(Interrupted::Mail(error)),
                    _ if tries > 0 => Sent::Broke,
                    _ => Sent::Over(Interrupted::Mail(error)),
                })
            }
        }
    }

    /// Builds the message, or says what is wrong with it.
    async fn built(&self, attempt: &Attempt) -> Result<BuiltMessage, String> {
        let message = attempt.message.clone();
        let built = tokio::task::spawn_blocking(move || mime::build(&message))
            .await
            .map_err(|_| "building it ended its thread".to_owned())?
            .map_err(|error| error.to_string())?;
        let limit = self.cycle.mailbox.max_message_bytes;
        if built.size as u64 > limit {
            return Err(format!(
                "with its attachments it has {} MB, and the limit (`max_message_mb`) is {} MB",
                (built.size as u64).div_ceil(MEGABYTE),
                limit / MEGABYTE
            ));
        }
        Ok(built)
    }

    /// The message itself is at fault: no server would take it like this.
    async fn refuse(&self, attempt: &Attempt, why: &str, said: Option<&str>) -> Result<Sent, Interrupted> {
        let recipients = attempt.recipients.iter().map(|recipient| RecipientAnswer {
            position: recipient.position,
            state: State::Refused,
            reply_code: None,
            enhanced_code: None,
            said: said.map(str::to_owned),
            retry_after: Duration::ZERO,
        });
        let answer = Answer {
            attempt: attempt.id,
            answer: SendAnswer::NotAccepted,
            said: said.map(str::to_owned),
            recipients: recipients.collect(),
            retry_after: Duration::ZERO,
        };
        let told = self.told(AlertKind::MessageRefused, json!({"reason": why}), said);
        self.write(answer, Some(told)).await?;
        Ok(Sent::GoOn { bytes: 0 })
    }

    /// Writes down what the server said.
    async fn answered(
        &self,
        attempt: &Attempt,
        submission: Submission,
        bytes: u64,
    ) -> Result<Sent, Interrupted> {
        let recipients: Vec<RecipientAnswer> = attempt
            .recipients
            .iter()
            .zip(&submission.recipients)
            .filter_map(|(recipient, state)| recipient_answer(recipient, state))
            .collect();
        let refused = recipients.iter().filter(|recipient| recipient.state == State::Refused).count();
        let first_refusal = recipients
            .iter()
            .find(|recipient| recipient.state == State::Refused)
            .and_then(|recipient| recipient.said.clone());
        let some_refused = || {
            let counts = json!({"refused": refused, "recipients": attempt.recipients.len()});
            (refused > 0).then(|| self.told(AlertKind::RecipientsRefused, counts, first_refusal.as_deref()))
        };
        let (answer, said, told, over) = match submission.outcome {
            Outcome::Sent(reply) => (SendAnswer::Accepted, Some(reply.to_string()), some_refused(), None),
            Outcome::Refused { step: Step::Recipients, reply } => {
                (SendAnswer::NotAccepted, Some(reply.to_string()), some_refused(), None)
            }
            Outcome::Refused { step, reply } => {
                let said = reply.to_string();
                let reason = json!({"reason": refused_at(step)});
                // Refused for now is no alert: it is tried again.
                let told = (refused > 0).then(|| self.told(AlertKind::MessageRefused, reason, Some(&said)));
                (SendAnswer::NotAccepted, Some(said), told, None)
            }
            Outcome::Unknown(error) => {
                let said = error.said().map(str::to_owned);
                let told = self.told(AlertKind::SendUnknown, json!({}), said.as_deref());
                (SendAnswer::Unknown, said, Some(told), Some(error))
            }
        };
        let answer = Answer { attempt: attempt.id, answer, said, recipients, retry_after: retry_after(1) };
        self.write(answer, told).await?;
        Ok(match over {
            None => Sent::GoOn { bytes },
            Some(error) => Sent::Over(Interrupted::Mail(error)),
        })
    }

    fn told(&self, kind: AlertKind, mut parameters: Value, said: Option<&str>) -> Told {
        parameters["endpoint"] = json!(self.cycle.mailbox.endpoint().key());
        Told { kind, parameters, said: said.map(str::to_owned) }
    }

    /// Writes an answer, not fenced: a server's word is true whoever holds the claim by now. It goes on when the cycle
    /// is dropped for a lost lease or session, because nobody else knows the answer.
    async fn write(&self, answer: Answer, told: Option<Told>) -> Result<(), Interrupted> {
        let writing = Writing {
            store: self.cycle.parts.store.clone(),
            organization: self.cycle.organization,
            by: self.cycle.author(),
            doubled: self.told(AlertKind::MaybeSentTwice, json!({}), None),
            answer,
            told,
        };
        let written = tokio::spawn(writing.run().in_current_span()).await;
        let written =
            written.map_err(|_| store::Error::Broken("writing an answer ended its task".to_owned()))?;
        Ok(written?)
    }
}

/// An answer on its way into the records.
struct Writing {
    store: Store,
    organization: OrganizationId,
    by: Author,
    answer: Answer,
    told: Option<Told>,
    /// What is told when the email turns out to be accepted twice.
    doubled: Told,
}

impl Writing {
    async fn run(self) -> store::Result<()> {
        let mut tries = 1;
        loop {
            let written =
                self.store.in_tenant(self.organization, async |tenant| self.once(tenant).await).await;
            match written {
                Err(store::Error::Away(reason)) if tries < WRITE_TRIES => {
                    tracing::warn!("a server's answer could not be written, trying again: {reason}");
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                written => return written,
            }
        }
    }

    async fn once(&self, tenant: &Tenant) -> store::Result<()> {
        let answered = outgoing::record_answer(tenant, &self.answer, &self.by).await?;
        if answered.decided && answered.state != EmailState::Unknown {
            // A late answer settles what a newer claim found in doubt.
            alert::resolve(tenant, &[AlertKind::SendUnknown], Subject::Email(answered.email), None).await?;
        }
        if answered.decided && answered.state != EmailState::PendingSend {
            let email = Subject::Email(answered.email);
            alert::resolve(tenant, &[AlertKind::SendWaiting], email, None).await?;
        }
        if let Some(told) = &self.told
            && answered.decided
        {
            alert::raise(tenant, &told.about(answered.email)).await?;
        }
        if answered.doubled {
            alert::raise(tenant, &self.doubled.about(answered.email)).await?;
        }
        Ok(())
    }
}

impl Told {
    fn about(&self, email: EmailId) -> NewAlert {
        NewAlert {
            kind: self.kind,
            subject: Subject::Email(email),
            detail: String::new(),
            parameters: self.parameters.clone(),
            server_said: self.said.clone(),
        }
    }
}

/// How often the message was tried before, for the recipient that was tried most.
fn tries(attempt: &Attempt) -> u32 {
    let most = attempt.recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or_default();
    u32::try_from(most).unwrap_or(0)
}

/// The message never left: its recipients wait as before, each time longer where the connection broke over it.
fn not_sent(attempt: &Attempt, said: Option<&str>, retry_after: Duration) -> Answer {
    Answer {
        attempt: attempt.id,
        answer: SendAnswer::NotSent,
        said: said.map(str::to_owned),
        recipients: Vec::new(),
        retry_after,
    }
}

/// What the server said about one recipient; nothing for one whose fate is in doubt with the message's.
fn recipient_answer(recipient: &DueRecipient, state: &RecipientState) -> Option<RecipientAnswer> {
    let stands = match state {
        RecipientState::Accepted(_) => State::Accepted,
        RecipientState::Deferred(_) => State::Deferred,
        RecipientState::Refused(_) => State::Refused,
        RecipientState::InDoubt(_) => return None,
    };
    let reply = state.reply();
    Some(RecipientAnswer {
        position: recipient.position,
        state: stands,
        reply_code: Some(reply.code().into()),
        enhanced_code: reply.enhanced().map(|code| code.to_string()),
        said: Some(reply.text().to_owned()),
        retry_after: retry_after(u32::try_from(recipient.attempts).unwrap_or(0) + 1),
    })
}

/// Whether the message could not even be offered to this server, and the session goes on without it.
fn is_about_the_message(error: &mail::Error) -> bool {
    error.phase() == Phase::Envelope
        && matches!(error.kind(), Kind::OverSize { .. } | Kind::Unsupported(_) | Kind::Unspeakable(_))
}

fn refused_at(step: Step) -> &'static str {
    match step {
        Step::Sender => "the sender was refused",
        Step::Recipients => "every recipient was refused",
        Step::Data => "the server would not take a message",
        Step::Message => "the message was refused",
    }
}
