//! Which of the messages that were read become records: the acceptance policy, asked for every one but the reports about
//! what this mailbox sent.

use std::collections::HashSet;

use jiff::Timestamp;
use model::accept::{Facts, accept, before_the_floor};
use model::address::normalize;
use model::automatic::{Automatic, automatic};
use model::mailbox::Acceptance;
use model::report::Report;
use store::incoming::{IncomingItem, IncomingMessage, Verdict};
use store::outgoing::report::{self, Found, IncomingReport};
use store::{Tenant, address, incoming};

use super::intake::{Intake, Read};
use crate::ending::Interrupted;

impl Intake<'_> {
    /// Judges what was read, with what the organization knows about senders and earlier mail: two queries a batch, and
    /// one more where there are reports.
    pub(super) async fn judged(
        &self,
        tenant: &Tenant,
        read: Vec<Read>,
    ) -> Result<Vec<IncomingItem>, Interrupted> {
        let mailbox = &self.cycle.mailbox;
        let (mut known, mut answered) = (HashSet::new(), HashSet::new());
        if mailbox.acceptance == Acceptance::KnownSendersAndReplies {
            let senders: Vec<String> = read.iter().flat_map(senders).collect();
            known.extend(
                address::resolve(tenant, &senders).await?.into_iter().map(|resolved| resolved.address),
            );
            let ids: Vec<String> = read.iter().flat_map(|read| answers(read).cloned()).collect();
            answered.extend(incoming::sent_by_us(tenant, &ids).await?);
        }
        let reports: Vec<&Report> = read.iter().filter_map(|read| read.report.as_ref()).collect();
        let mut found = report::find(tenant, mailbox.id, &reports).await?.into_iter();
        let items = read.into_iter().map(|mut read| {
            let received_at = received_at(&read);
            // A report about an email of this mailbox is handled whatever the policy says of correspondence.
            let of_ours = read.report.take().and_then(|report| Some((found.next()??, report)));
            if let Some((found, report)) = of_ours
                && !before_the_floor(received_at, mailbox.floor)
            {
                return reported(read, found, report);
            }
            let facts = Facts {
                received: received_at,
                floor: mailbox.floor,
                known_sender: senders(&read).any(|sender| known.contains(&sender)),
                // A machine that answers makes nobody's acquaintance.
                reply: automatic(&read.message).is_none_or(Automatic::may_be_an_answer)
                    && answers(&read).any(|id| answered.contains(id)),
            };
            let verdict = accept(mailbox.acceptance, &facts);
            IncomingItem {
                item_id: read.item_id,
                size: read.size,
                received_at,
                message_id: read.message.message_id.clone(),
                rule: verdict.rule.to_string(),
                verdict: match verdict.refused {
                    Some(decision) => Verdict::Skip(decision),
                    None => Verdict::Record(Box::new(IncomingMessage {
                        identity: read.identity,
                        message: read.message,
                        raw: read.raw,
                    })),
                },
            }
        });
        Ok(items.collect())
    }
}

/// A report joins the email it speaks of; it is no correspondence of its own.
fn reported(read: Read, found: Found, report: Report) -> IncomingItem {
    IncomingItem {
        received_at: received_at(&read),
        item_id: read.item_id,
        size: read.size,
        message_id: read.message.message_id,
        rule: report.kind.to_string(),
        verdict: Verdict::Report(Box::new(IncomingReport {
            found,
            report,
            identity: read.identity,
            raw: read.raw,
        })),
    }
}

/// When the server received it, as far as anyone can tell.
fn received_at(read: &Read) -> Option<Timestamp> {
    read.received_at.or(read.message.received).or(read.message.date)
}

fn senders(read: &Read) -> impl Iterator<Item = String> + '_ {
    read.message.from.iter().map(|party| normalize(&party.address))
}

/// The messages that this one answers, by Message-ID.
fn answers(read: &Read) -> impl Iterator<Item = &String> {
    read.message.in_reply_to.iter().chain(&read.message.references)
}
