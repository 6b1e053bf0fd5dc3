//! Asking for an email to be sent, and taking that back. A request is refused with a remedy rather than left to wait
//! for something that will not come.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use model::cadence::DueReason;
use model::email::EmailState;
use model::id::{EmailId, MailboxId, SendRequestId, UserId};
use model::mailbox::Approval;
use model::workload::Workload;

use super::withdraw::take_back;
use super::{hold, set_state};
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_time};
use crate::{Error, Result, Tenant, change, row, schedule};

/// How an email is asked to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// On whose right: this person must be allowed to send from the mailbox, now and when the message is about to leave.
    /// None for the operator, and for a service that may send as anybody.
    pub person: Option<UserId>,
    /// Not to leave before this.
    pub not_before: Option<Timestamp>,
    /// Also to those who have got it by an earlier request.
    pub to_all: bool,
}

/// Asks for an email to be sent: Pending send, with a Message-ID of its own. A draft or a failed one goes to everybody, one
/// that was sent before to those whom no server has accepted; whom one has, also where it bounced later, only when asked
/// for, and that is marked as a possible duplicate: anybody can make a mail look bounced.
pub async fn request_send(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    asked: Request,
    by: &Author,
) -> Result<SendRequestId> {
    check_time("not_before", asked.not_before)?;
    let held = hold(tenant, id, expected).await?;
    if !matches!(held.state, EmailState::Draft | EmailState::Failed | EmailState::Sent) {
        let remedy = match held.state {
            EmailState::Unknown => "decide first whether the earlier try was sent",
            _ => "it is under way already",
        };
        return Err(Refusal::WrongState { state: held.state, verb: "sent", remedy }.into());
    }
    let mailbox = held.mailbox.ok_or(Refusal::NoSender)?;
    let sender = check_sender(tenant, mailbox, asked.person).await?;
    let request: SendRequestId = model::clock::new_id();
    let message_id =
        format!("{}@{}", BASE64_URL_SAFE_NO_PAD.encode(model::clock::random_bytes::<16>()), sender.domain);
    tenant
        .execute(
            "insert into send_requests (organization_id, id, email_id, message_id, requested_by, not_before, rests_on)
             values (current_organization(), $1, $2, $3, $4, $5, $6)",
            &[
                &request.0,
                &id.0,
                &message_id,
                &by.name(),
                &asked.not_before,
                &asked.person.map(|person| person.0),
            ],
        )
        .await?;
    // An address that stands in two lists gets one copy, as the first of To, Cc, Bcc.
    let row = tenant
        .query_one(
            "with wanted as (
                select distinct on (p.address_key) p.position, p.address, p.role, exists (
                    select from send_recipients d
                    join send_requests r on r.organization_id = d.organization_id and r.id = d.send_request_id
                    where r.email_id = $2 and lower(d.address) = p.address_key 
                      and d.state in ('accepted', 'delayed', 'bounced')) as has_it
                from email_parties p where p.email_id = $2 and p.role in ('to', 'cc', 'bcc')
                order by p.address_key, p.position
             ), added as (
                insert into send_recipients (organization_id, send_request_id, position, address, role)
                select current_organization(), $1, position, address, role from wanted where $3 or not has_it
                returning position
             )
             select (select count(*) from added) as added, (select count(*) from wanted where has_it) as got_before",
            &[&request.0, &id.0, &asked.to_all],
        )
        .await?;
    let (recipients, got_before): (i64, i64) = (row.try_get("added")?, row.try_get("got_before")?);
    if recipients == 0 {
        let refusal = if got_before > 0 { Refusal::EverybodyHasIt } else { Refusal::NoRecipients };
        return Err(refusal.into());
    }
    put_sender(tenant, id, &sender, asked.person).await?;
    tenant.execute("update emails set message_id = $2 where id = $1", &[&id.0, &message_id]).await?;
    if asked.to_all && got_before > 0 {
        super::doubt::mark_duplicate(tenant, id).await?;
    }
    set_state(tenant, &held, EmailState::PendingSend, by).await?;
    let fields = Fields::new()
        .set("email", id)
        .set("not_before", asked.not_before)
        .set("recipients", recipients)
        .set("rests_on", asked.person);
    change::write(tenant, Change { record_type: "send_request", id: request.0, version: 1, by, fields })
        .await?;
    make_due(tenant, mailbox, asked.not_before).await?;
    Ok(request)
}

/// Sent in the name of another person, the message says who sent it: From is the author, Sender the one who transmits
/// (RFC 5322 section 3.6.2, whose example is this). A queue and a service have no person that readers should see.
pub(super) async fn put_sender(
    tenant: &Tenant,
    id: EmailId,
    sender: &Sender,
    person: Option<UserId>,
) -> Result<()> {
    tenant.execute("delete from email_parties where email_id = $1 and role = 'sender'", &[&id.0]).await?;
    let (Some(person), Some(owner)) = (person, sender.user) else { return Ok(()) };
    if person == owner {
        return Ok(());
    }
    // From has the position 0, recipients those after it.
    tenant
        .execute(
            "insert into email_parties (organization_id, email_id, position, role, address, name, party_type, party_id)
             select current_organization(), $1, -1, 'sender', address, name, 'user', id from users where id = $2",
            &[&id.0, &person.0],
        )
        .await?;
    Ok(())
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

/// Sets the outgoing workload due for what waits of an email that a late answer made pending again. Where the cycle
/// that sent it still runs, its end says the same.
pub(super) async fn due_again(tenant: &Tenant, email: EmailId) -> Result<()> {
    tenant
        .execute(
            "update schedules s set due_at = least(s.due_at, p.next_try_at), due_reason = $2
             from (select e.organization_id, e.mailbox_id, min(greatest(rc.next_try_at, r.not_before)) as next_try_at
                   from emails e
                   join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                                       and r.ended_at is null
                   join send_recipients rc on rc.organization_id = r.organization_id and rc.send_request_id = r.id
                                          and rc.state in ('waiting', 'deferred')
                   where e.id = $1 and e.state = 'pending_send' group by e.organization_id, e.mailbox_id) as p
             join mailbox_workloads w on w.organization_id = p.organization_id and w.mailbox_id = p.mailbox_id
                                     and w.workload = 'outgoing' and w.enabled
             where s.organization_id = p.organization_id and s.mailbox_id = p.mailbox_id and s.workload = 'outgoing'
               and (s.due_at is null or s.due_at > p.next_try_at)",
            &[&email.0, &DueReason::PendingSend.as_str()],
        )
        .await?;
    Ok(())
}

/// What a mailbox sends as.
pub(super) struct Sender {
    /// The domain of its address.
    domain: String,
    /// The person who owns it, when it is not a queue's.
    user: Option<UserId>,
}

/// Whether the mailbox sends, and the person may send from it.
pub(super) async fn check_sender(
    tenant: &Tenant,
    mailbox: MailboxId,
    person: Option<UserId>,
) -> Result<Sender> {
    let row = tenant
        .query_opt(
            &format!(
                "select m.name, m.address, m.approval, w.enabled, w.method, m.user_id, o.name as user_name,
                        q.name as queue_name, coalesce({}, false) as permitted
                 from mailboxes m
                 join mailbox_workloads w on w.organization_id = m.organization_id and w.mailbox_id = m.id
                                         and w.workload = 'outgoing'
                 left join users o on o.organization_id = m.organization_id and o.id = m.user_id
                 left join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
                 where m.id = $1",
                super::permission::may_send("$2")
            ),
            &[&mailbox.0, &person.map(|person| person.0)],
        )
        .await?
        .ok_or(Refusal::NoSender)?;
    if person.is_some() && !row.try_get::<_, bool>("permitted")? {
        return Err(super::permission::refused(&row)?.into());
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
        return Err(Refusal::SenderNotReady { mailbox: row.try_get("name")?, cause }.into());
    }
    let address: String = row.try_get("address")?;
    let domain = address.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
    let domain = domain.ok_or_else(|| Error::Broken("a mailbox whose address has no domain".to_owned()))?;
    Ok(Sender { domain, user: row.try_get::<_, Option<uuid::Uuid>>("user_id")?.map(UserId) })
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
    take_back(tenant, &held, by).await
}
