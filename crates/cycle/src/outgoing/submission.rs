//! One message: given to the server up to the final dot, and its answer written down whoever holds the claim by
//! then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::smtp::{self, Envelope, Outcome, RecipientState, Reports, Step, Submission};
use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::{RecipientState as State, SendAnswer, retry_after};
use model::failure::clamped;
use serde_json::json;
use store::outgoing::{Answer, Attempt, DueRecipient, RecipientAnswer};

use super::begun::Begun;
use super::letter::{Files, Letter, Unwritten};
use super::{Sending, Sent};
use crate::ending::Interrupted;

/// How long a message under way may take to its final dot once the process is to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a message was held back before its final dot.
pub(super) enum Held {
    Mail(mail::Error),
    /// Its files could not be read any further.
    Store(store::Error),
    LeaseLost,
}

impl From<store::Error> for Held {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<mail::Error> for Held {
    fn from(error: mail::Error) -> Self {
        Self::Mail(error)
    }
}

impl Sending<'_> {
    pub(super) async fn submit(
        &self,
        session: &mut smtp::Session,
        begun: Begun,
    ) -> Result<Sent, Interrupted> {
        let (begun, letter, files) = match self.written(begun).await? {
            Ok(written) => written,
            Err(sent) => return Ok(sent),
        };
        let attempt = &begun.attempt;
        let bytes = letter.size;
        let envelope = Envelope {
            from: attempt.message.from.address.clone(),
            recipients: attempt.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            size: bytes,
            eight_bit: letter.needs_eight_bit,
            utf8: letter.needs_utf8,
            // A report names the request by it, also where only the headers come back.
            reports: Some(Reports {
                envelope_id: attempt.request.0.simple().to_string(),
                success: attempt.delivery_receipt_requested,
            }),
        };
        let dot = begun.dot();
        let may_go_on = async {
            crash::point(Point::DataAfter);
            if (self.may_go_on)() {
                dot.store(true, Ordering::SeqCst);
                Ok(())
            } else {
                Err(Held::LeaseLost)
            }
        };
        crash::point(Point::DataBefore);
        let submitted = tokio::select! {
            biased;
            submitted = session.submit(&envelope, letter.leave(&files), may_go_on) => submitted,
            () = self.held_back(&dot) => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                return Ok(Sent::Broke);
            }
        };
        if let Ok(Submission { outcome: Outcome::Sent(_), .. }) = &submitted {
            crash::point(Point::VerdictAfter);
        }
        match submitted {
            Ok(submission) => answered(begun, submission, bytes).await,
            Err(held) => self.never_left(begun, held).await,
        }
    }

    /// The message of a try as it leaves, or what becomes of one that cannot be written.
    pub(super) async fn written(
        &self,
        begun: Begun,
    ) -> Result<Result<(Begun, Letter, Files), Sent>, Interrupted> {
        let files = Files::of(&self.cycle.parts.store, self.cycle.organization, &begun.attempt);
        match Letter::write(&begun.attempt, &files, self.cycle.mailbox.max_message_bytes).await {
            Ok(letter) => Ok(Ok((begun, letter, files))),
            Err(Unwritten::Message(why)) => Ok(Err(refuse(begun, &why, None))),
            Err(Unwritten::Store(error)) => Ok(Err(self.never_left(begun, Held::Store(error)).await?)),
        }
    }

    /// Writes down that a message never left, and says whose fault that was.
    pub(super) async fn never_left(&self, begun: Begun, held: Held) -> Result<Sent, Interrupted> {
        match held {
            Held::LeaseLost => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                Ok(Sent::Over(Interrupted::LeaseLost))
            }
            // The connection was given up by us: neither the server's fault nor the message's.
            Held::Mail(_) if self.cycle.ends().is_silent() => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                Ok(Sent::Over(Interrupted::LeaseLost))
            }
            Held::Store(error) => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                Ok(Sent::Over(Interrupted::Store(error)))
            }
            Held::Mail(error) if is_about_the_message(&error) => {
                Ok(refuse(begun, &error.to_string(), error.said()))
            }
            Held::Mail(error) => {
                let tries = tries(&begun.attempt);
                let pause = match error.kind() {
                    // As long as it asked: nothing is wrong with the message.
                    Kind::Throttled(_) => error.retry_after().map_or(retry_after(1), clamped),
                    _ => retry_after(tries + 1),
                };
                begun.end_not_sent(error.said(), pause).await?;
                Ok(match error.kind() {
                    // A server that is leaving, or wants to be asked later, is no message's fault, however often.
                    Kind::Unavailable | Kind::Throttled(_) => Sent::Over(Interrupted::Mail(error)),
                    _ if tries > 0 => Sent::Broke,
                    _ => Sent::Over(Interrupted::Mail(error)),
                })
            }
        }
    }

    /// Comes true when the process is to stop and the message has had its time to reach its final dot: it goes again
    /// from elsewhere, instead of being in doubt. Past the dot only the server's answer counts.
    pub(super) async fn held_back(&self, dot: &AtomicBool) {
        self.cycle.parts.drain.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
        if dot.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// The message itself is at fault: no server would take it like this.
pub(super) fn refuse(begun: Begun, why: &str, said: Option<&str>) -> Sent {
    refuse_as(begun, AlertKind::MessageRefused, why, said)
}

/// The same, told as this kind.
pub(super) fn refuse_as(begun: Begun, kind: AlertKind, why: &str, said: Option<&str>) -> Sent {
    let recipients = begun.attempt.recipients.iter().map(|recipient| RecipientAnswer {
        position: recipient.position,
        state: State::Refused,
        reply_code: None,
        enhanced_code: None,
        said: said.map(str::to_owned),
        retry_after: Duration::ZERO,
    });
    let answer = Answer {
        attempt: begun.attempt.id,
        answer: SendAnswer::NotAccepted,
        said: said.map(str::to_owned),
        recipients: recipients.collect(),
        retry_after: Duration::ZERO,
    };
    let told = begun.told(kind, json!({"reason": why}), said);
    Sent::GoOn { bytes: 0, answered: begun.answered(answer, vec![told]) }
}

/// What the server said, as it is written down.
async fn answered(begun: Begun, submission: Submission, bytes: u64) -> Result<Sent, Interrupted> {
    let attempt = &begun.attempt;
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
        (refused > 0).then(|| begun.told(AlertKind::RecipientsRefused, counts, first_refusal.as_deref()))
    };
    let (answer, said, told, over) = match submission.outcome {
        Outcome::Sent(reply) => {
            (SendAnswer::Accepted, Some(reply.to_string()), some_refused().into_iter().collect(), None)
        }
        Outcome::Refused { step: Step::Recipients, reply } => {
            (SendAnswer::NotAccepted, Some(reply.to_string()), some_refused().into_iter().collect(), None)
        }
        Outcome::Refused { step, reply } => {
            let said = reply.to_string();
            let reason = json!({"reason": refused_at(step)});
            // Refused for now is no alert: it is tried again.
            let told = (refused > 0).then(|| begun.told(AlertKind::MessageRefused, reason, Some(&said)));
            (SendAnswer::NotAccepted, Some(said), told.into_iter().collect(), None)
        }
        Outcome::Unknown(error) => {
            let said = error.said().map(str::to_owned);
            let told = begun.told(AlertKind::SendUnknown, json!({}), said.as_deref());
            (SendAnswer::Unknown, said, some_refused().into_iter().chain([told]).collect(), Some(error))
        }
    };
    let answer = Answer { attempt: attempt.id, answer, said, recipients, retry_after: retry_after(1) };
    match over {
        None => Ok(Sent::GoOn { bytes, answered: begun.answered(answer, told) }),
        Some(error) => {
            begun.end(answer, told).await?;
            Ok(Sent::Over(Interrupted::Mail(error)))
        }
    }
}

/// How often the message was tried before, for the recipient that was tried most.
fn tries(attempt: &Attempt) -> u32 {
    let most = attempt.recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or_default();
    u32::try_from(most).unwrap_or(0)
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

/// Whether the message could not even be offered to this server, and the session goes on without it; or an Exchange server would
/// not lay it down.
fn is_about_the_message(error: &mail::Error) -> bool {
    match error.phase() {
        Phase::Envelope => {
            matches!(error.kind(), Kind::OverSize { .. } | Kind::Unsupported(_) | Kind::Unspeakable(_))
        }
        // Told to send, an Exchange server answers otherwise than by this.
        Phase::Data | Phase::Verdict => {
            matches!(error.kind(), Kind::OverSize { .. } | Kind::Unspeakable(_) | Kind::PermanentlyRefused)
        }
        _ => false,
    }
}

fn refused_at(step: Step) -> &'static str {
    match step {
        Step::Sender => "the sender was refused",
        Step::Recipients => "every recipient was refused",
        Step::Data => "the server would not take a message",
        Step::Message => "the message was refused",
    }
}
