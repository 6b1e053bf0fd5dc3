//! Which of the messages that were read become records: the acceptance policy, asked for every one.

use std::collections::HashSet;

use model::accept::{Facts, accept};
use model::address::normalize;
use model::mailbox::Acceptance;
use store::incoming::{IncomingItem, IncomingMessage, Verdict};
use store::{Tenant, address, incoming};

use super::Reading;
use super::batch::Read;
use crate::ending::Interrupted;

impl Reading<'_> {
    /// Judges what was read, with what the organization knows about senders and earlier mail: two queries a batch.
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
        let items = read.into_iter().map(|read| {
            let received_at = read.message.received.or(read.message.date);
            let facts = Facts {
                received: received_at,
                floor: mailbox.floor,
                known_sender: senders(&read).any(|sender| known.contains(&sender)),
                reply: answers(&read).any(|id| answered.contains(id)),
            };
            let verdict = accept(mailbox.acceptance, &facts);
            IncomingItem {
                item_id: read.new.item_id,
                size: read.new.listed.size,
                received_at,
                rule: verdict.rule.to_owned(),
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

fn senders(read: &Read) -> impl Iterator<Item = String> + '_ {
    read.message.from.iter().map(|party| normalize(&party.address))
}

/// The messages that this one answers, by Message-ID.
fn answers(read: &Read) -> impl Iterator<Item = &String> {
    read.message.in_reply_to.iter().chain(&read.message.references)
}
