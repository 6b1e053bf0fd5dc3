//! Of which email a report speaks: one that was sent from the very mailbox the report came into.

use std::collections::HashMap;

use model::id::{EmailId, MailboxId, SendRequestId};
use model::report::Report;
use uuid::Uuid;

use crate::{Result, Tenant};

/// An email and the send request of it that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which email.
    pub email: EmailId,
    /// Under which request it left.
    pub request: SendRequestId,
}

/// Finds the email of each report, in their order: by a Message-ID of a send request, by the envelope id, which is the
/// send request's own, or by the second it was dated and whom it went to. One query for all of them, mostly.
pub async fn find(tenant: &Tenant, mailbox: MailboxId, reports: &[&Report]) -> Result<Vec<Option<Found>>> {
    if reports.is_empty() {
        return Ok(Vec::new());
    }
    let message_ids: Vec<&str> =
        reports.iter().flat_map(|report| report.message_ids.iter().map(String::as_str)).collect();
    let envelopes: Vec<Uuid> = reports.iter().filter_map(|report| envelope(report)).collect();
    let rows = tenant
        .query(
            "select r.id, r.email_id, r.message_id from send_requests r
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id
             where (r.message_id = any($1::text[]) or r.id = any($2::uuid[])) and e.mailbox_id = $3",
            &[&message_ids, &envelopes, &mailbox.0],
        )
        .await?;
    let (mut by_message_id, mut by_request) = (HashMap::new(), HashMap::new());
    for row in &rows {
        let found =
            Found { email: EmailId(row.try_get("email_id")?), request: SendRequestId(row.try_get("id")?) };
        by_message_id.insert(row.try_get::<_, String>("message_id")?, found);
        by_request.insert(found.request.0, found);
    }
    let mut all = Vec::with_capacity(reports.len());
    for report in reports {
        let named = report.message_ids.iter().find_map(|id| by_message_id.get(id)).copied();
        let found = named.or_else(|| by_request.get(&envelope(report)?).copied());
        all.push(match found {
            Some(found) => Some(found),
            None => by_returned_header(tenant, mailbox, report).await?,
        });
    }
    Ok(all)
}

fn envelope(report: &Report) -> Option<Uuid> {
    report.envelope_id.as_deref()?.parse().ok()
}

/// Some servers give what they pass on a Message-ID of their own. What they return still has the Date, which is when the
/// request was made. Two emails of one second to one recipient stay apart by not being found.
async fn by_returned_header(tenant: &Tenant, mailbox: MailboxId, report: &Report) -> Result<Option<Found>> {
    let Some(date) = report.returned_date else { return Ok(None) };
    let addresses: Vec<&str> = report
        .recipients
        .iter()
        .flat_map(|recipient| recipient.original.iter().chain([&recipient.address]))
        .map(String::as_str)
        .collect();
    let rows = tenant
        .query(
            "select r.id, r.email_id from send_requests r
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id
             where e.mailbox_id = $1 and r.requested_at >= $2 and r.requested_at < $2 + interval '1 second'
               and exists (select from send_recipients rc
                           where rc.organization_id = r.organization_id and rc.send_request_id = r.id
                             and lower(rc.address) = any($3::text[]))
             limit 2",
            &[&mailbox.0, &date, &addresses],
        )
        .await?;
    match rows.as_slice() {
        [row] => Ok(Some(Found {
            email: EmailId(row.try_get("email_id")?),
            request: SendRequestId(row.try_get("id")?),
        })),
        _ => Ok(None),
    }
}
