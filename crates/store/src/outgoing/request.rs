//! Asking for an email to be sent, and taking that back. A request is refused with a remedy rather than left to wait
//! for something that will not come.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use model::actor::Principal;
use model::cadence::DueReason;
use model::email::EmailState;
use model::id::{EmailId, MailboxId, SendRequestId};
use model::mailbox::Approval;
use model::workload::Workload;

use super::{hold, set_state};
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_time};
use crate::{Error, Result, Tenant, change, row, schedule};

/// Asks for a draft or a failed email to be sent, not before a time if one is given: Pending send, with a Message-ID
/// of its own, to everybody who has not got it by an earlier request. `principal` is whom the sender must allow;
/// none is the operator.
pub async fn request_send(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    principal: Option<&Principal>,
    not_before: Option<Timestamp>,
    by: &Author,
) -> Result<SendRequestId> {
    check_time("not_before", not_before)?;
    let held = hold(tenant, id, expected).await?;
    if !matches!(held.state, EmailState::Draft | EmailState::Failed) {
        let remedy = match held.state {
            EmailState::Unknown => "decide first whether the earlier try was sent",
            EmailState::Sent => "write a new email instead",
            _ => "it is under way already",
        };
        return Err(Refusal::WrongState { state: held.state, verb: "sent", remedy }.into());
    }
    let mailbox = held.mailbox.ok_or(Refusal::NoSender)?;
    let domain = check_sender(tenant, mailbox, principal).await?;
    let request: SendRequestId = model::clock::new_id();
    let message_id =
        format!("{}@{domain}", BASE64_URL_SAFE_NO_PAD.encode(model::clock::random_bytes::<16>()));
    tenant
        .execute(
            "insert into send_requests (organization_id, id, email_id, message_id, requested_by, not_before)
             values (current_organization(), $1, $2, $3, $4, $5)",
            &[&request.0, &id.0, &message_id, &by.name(), &not_before],
        )
        .await?;
    // An address that stands in two lists gets one copy, as the first of To, Cc, Bcc.
    let recipients = tenant
        .execute(
            "insert into send_recipients (organization_id, send_request_id, position, address, role)
             select current_organization(), $1, position, address, role
             from (select distinct on (p.address_key) p.position, p.address, p.role from email_parties p
                   where p.email_id = $2 and p.role in ('to', 'cc', 'bcc')
                     and not exists (select from send_recipients d
                         join send_requests r on r.organization_id = d.organization_id and r.id = d.send_request_id
                         where r.email_id = $2 and lower(d.address) = p.address_key
                           and d.state in ('accepted', 'delayed', 'bounced'))
                   order by p.address_key, p.position) as recipients",
            &[&request.0, &id.0],
        )
        .await?;
    if recipients == 0 {
        return Err(Refusal::NoRecipients.into());
    }
    tenant.execute("update emails set message_id = $2 where id = $1", &[&id.0, &message_id]).await?;
    set_state(tenant, &held, EmailState::PendingSend, by).await?;
    let fields = Fields::new().set("email", id).set("not_before", not_before).set("recipients", recipients);
    change::write(tenant, Change { record_type: "send_request", id: request.0, version: 1, by, fields })
        .await?;
    make_due(tenant, mailbox, not_before).await?;
    Ok(request)
}

/// Wishes the sender's outgoing workload due: now, or when the email may leave.
pub(super) async fn make_due(
    tenant: &Tenant,
    mailbox: MailboxId,
    not_before: Option<Timestamp>,
) -> Result<()> {
    let later = tenant
        .execute(
            "update schedules set due_at = least(due_at, $2), due_reason = $3
             where mailbox_id = $1 and workload = 'outgoing' and $2 > now()",
            &[&mailbox.0, &not_before, &DueReason::PendingSend.as_str()],
        )
        .await?;
    if later == 0 {
        schedule::wish(tenant, mailbox, Workload::Outgoing).await?;
    }
    Ok(())
}

/// Whether the mailbox sends and the caller may send from it; returns its address's domain.
pub(super) async fn check_sender(
    tenant: &Tenant,
    mailbox: MailboxId,
    principal: Option<&Principal>,
) -> Result<String> {
    let user = principal.and_then(|principal| principal.user).map(|(id, _)| id.0);
    let row = tenant
        .query_opt(
            "select m.name, m.address, m.approval, w.enabled, w.method,
                    m.user_id is not distinct from $2 or exists (
                        select from queue_members q where q.organization_id = m.organization_id
                           and q.queue_id = m.queue_id and q.user_id = $2) as own
             from mailboxes m
             join mailbox_workloads w on w.organization_id = m.organization_id and w.mailbox_id = m.id
                                     and w.workload = 'outgoing'
             where m.id = $1",
            &[&mailbox.0, &user],
        )
        .await?
        .ok_or(Refusal::NoSender)?;
    let name: String = row.try_get("name")?;
    // A service key sends for anybody its scope lets it send for; a person for themselves and their queues.
    if user.is_some() && !row.try_get::<_, bool>("own")? {
        return Err(Refusal::NotYourSender { mailbox: name }.into());
    }
    let method: String = row.try_get("method")?;
    let cause = if row::named::<Approval>(&row, "approval")? != Approval::Approved {
        Some("it is not approved; ask an administrator to approve it")
    } else if method == "none" {
        Some("its outgoing delivery method is `none`; set it to `server_side`, then test and enable it")
    } else if !row.try_get::<_, bool>("enabled")? {
        Some("its outgoing workload is not enabled; test and enable it first")
    } else {
        None
    };
    if let Some(cause) = cause {
        return Err(Refusal::SenderNotReady { mailbox: name, cause }.into());
    }
    let address: String = row.try_get("address")?;
    address
        .rsplit_once('@')
        .map(|(_, domain)| domain.to_lowercase())
        .ok_or_else(|| Error::Broken("a mailbox whose address has no domain".to_owned()))
}

/// Takes a request back until a try is under way: whoever still waits is dropped, whoever has got it keeps it. An email
/// that nobody has got and nobody refused is a draft again.
pub async fn cancel(tenant: &Tenant, id: EmailId, expected: Option<i64>, by: &Author) -> Result<EmailState> {
    let held = hold(tenant, id, expected).await?;
    if held.state != EmailState::PendingSend {
        let remedy = match held.state {
            EmailState::Sending => "a try is under way; wait for its end",
            EmailState::Unknown => "decide first whether the earlier try was sent",
            _ => "there is nothing to cancel",
        };
        return Err(Refusal::WrongState { state: held.state, verb: "canceled", remedy }.into());
    }
    tenant
        .execute(
            "update send_recipients rc set state = 'canceled' from send_requests r
             where r.email_id = $1 and r.ended_at is null and r.organization_id = rc.organization_id
               and r.id = rc.send_request_id and rc.state in ('waiting', 'deferred')",
            &[&id.0],
        )
        .await?;
    let row = tenant
        .query_one(
            "select coalesce(bool_and(rc.state = 'canceled'), true) as untouched from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             where r.email_id = $1",
            &[&id.0],
        )
        .await?;
    tenant
        .execute(
            "update send_requests set canceled_at = now() where email_id = $1 and ended_at is null",
            &[&id.0],
        )
        .await?;
    if row.try_get("untouched")? {
        tenant
            .execute(
                "update send_requests set ended_at = now() where email_id = $1 and ended_at is null",
                &[&id.0],
            )
            .await?;
        set_state(tenant, &held, EmailState::Draft, by).await?;
        return Ok(EmailState::Draft);
    }
    super::settle(tenant, &held, by).await
}
