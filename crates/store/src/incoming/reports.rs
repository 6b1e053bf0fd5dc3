//! The place where a report finds its email while mail is recorded: it joins the email it speaks of and makes none.

use model::email::Decision;

use super::{IncomingBatch, IncomingItem, Outcome, failed};
use crate::outgoing::report::{self, IncomingReport};
use crate::{Error, Result, Tenant};

/// Does what a report says, apart from everything else in the batch: one that cannot be written is tried again alone.
pub(super) async fn write(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    item: &IncomingItem,
    incoming: &IncomingReport,
) -> Result<Outcome> {
    let applied = tenant
        .attempt(async |tenant| {
            report::apply(tenant, batch.mailbox, incoming, item.received_at, batch.by).await
        })
        .await;
    match applied {
        Ok(first) => {
            let decision = if first { Decision::Recorded } else { Decision::Duplicate };
            Ok(Outcome::Written { email: incoming.found.email, new_email: false, decision })
        }
        Err(error @ (Error::Away(_) | Error::Fenced)) => Err(error),
        Err(error) => Ok(failed(&error)),
    }
}
