//! What follows from reports: where recipients stand from now on, where the email stands then, and who is told of it.

use jiff::Timestamp;
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState, settled};
use model::id::SendRequestId;
use model::report::{Effect, ReportKind, ReportedAction, ReportedRecipient, effect};
use serde_json::{Value, json};

use crate::alert::{self, NewAlert, Subject};
use crate::change::{Author, Fields};
use crate::outgoing::{Held, end_request, set_state_with};
use crate::row::{named, named_if};
use crate::{Result, Tenant};

/// What one report says, as it came in or as it was kept.
pub(super) struct Told {
    pub(super) kind: ReportKind,
    pub(super) reporter: Option<String>,
    pub(super) received_at: Option<Timestamp>,
    pub(super) recipients: Vec<ReportedRecipient>,
}

/// A recipient of the request that a report speaks of.
pub(super) struct Recipient {
    pub(super) position: i32,
    address: String,
    pub(super) state: RecipientState,
    reported: Option<ReportedAction>,
}

/// A recipient for whom something changes.
struct Moved<'a> {
    position: i32,
    was: RecipientState,
    state: RecipientState,
    told: &'a Told,
    reported: &'a ReportedRecipient,
    effect: Effect,
}

pub(super) async fn recipients(tenant: &Tenant, request: SendRequestId) -> Result<Vec<Recipient>> {
    let rows = tenant
        .query(
            "select position, lower(address) as address, state, reported from send_recipients
             where send_request_id = $1 order by position",
            &[&request.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Recipient {
                position: row.try_get("position")?,
                address: model::address::normalize(row.try_get("address")?),
                state: named(row, "state")?,
                reported: named_if(row, "reported")?,
            })
        })
        .collect()
}

/// Whom a report means: by the address that it was sent to, else by the one it ended at. When an email went to one alone,
/// it is that one: a forwarder's address stands in the report, or none. A read receipt always names its reader.
pub(super) fn meant(recipients: &[Recipient], kind: ReportKind, reported: &ReportedRecipient) -> Vec<usize> {
    for address in [reported.original.as_ref(), Some(&reported.address)].into_iter().flatten() {
        let named: Vec<_> =
            (0..recipients.len()).filter(|index| recipients[*index].address == *address).collect();
        if !named.is_empty() {
            return named;
        }
    }
    match (kind, recipients) {
        (ReportKind::DeliveryReport, [_]) => vec![0],
        _ => Vec::new(),
    }
}

/// Does what reports say, in their order: recipients first, then the email, which follows them, then the alerts. Where
/// they ended the doubt about it, `left`, the caller has put those it left for on `accepted`.
pub(super) async fn follow(
    tenant: &Tenant,
    held: &Held,
    request: SendRequestId,
    recipients: &mut [Recipient],
    told: &[Told],
    left: bool,
    by: &Author,
) -> Result<EmailState> {
    let mut moved: Vec<Moved<'_>> = Vec::new();
    for told in told {
        let first = moved.len();
        for reported in &told.recipients {
            for index in meant(recipients, told.kind, reported) {
                let recipient = &mut recipients[index];
                let effect = effect(recipient.state, recipient.reported, reported.action);
                let twice = moved[first..].iter().any(|one| one.position == recipient.position);
                if (effect.noted || effect.read) && !twice {
                    let (was, state) = (recipient.state, effect.state.unwrap_or(recipient.state));
                    recipient.state = state;
                    if effect.noted {
                        recipient.reported = Some(reported.action);
                    }
                    moved.push(Moved { position: recipient.position, was, state, told, reported, effect });
                }
            }
        }
        write(tenant, request, told, &moved[first..]).await?;
    }
    if moved.is_empty() && !left {
        return Ok(held.state);
    }
    let states = states(tenant, held).await?;
    let state = match held.state {
        _ if left => end_request(tenant, held).await?,
        // One that came back from everybody is not sent.
        EmailState::Sent if settled(states.iter().copied()) == EmailState::Failed => EmailState::Failed,
        // While somebody is still tried, or is in doubt, the end of that decides.
        state => state,
    };
    let mut fields = Fields::new();
    for kind in ReportKind::ALL {
        let of_kind: Vec<Value> = moved
            .iter()
            .filter(|one| one.told.kind == *kind)
            .map(|one| json!({"position": one.position, "state": one.state, "reported": one.reported.action}))
            .collect();
        if !of_kind.is_empty() {
            fields = fields.set(kind.as_str(), Value::Array(of_kind));
        }
    }
    set_state_with(tenant, held, state, fields, by).await?;
    tell(tenant, held, &moved, &states).await?;
    Ok(state)
}

/// Where all recipients of the email stand.
async fn states(tenant: &Tenant, held: &Held) -> Result<Vec<RecipientState>> {
    let rows = tenant
        .query(
            "select rc.state from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             where r.email_id = $1",
            &[&held.id.0],
        )
        .await?;
    rows.iter().map(|row| named(row, "state")).collect()
}

async fn write(tenant: &Tenant, request: SendRequestId, told: &Told, moved: &[Moved<'_>]) -> Result<()> {
    if moved.is_empty() {
        return Ok(());
    }
    let positions: Vec<_> = moved.iter().map(|one| one.position).collect();
    let states: Vec<_> = moved.iter().map(|one| one.state.as_str()).collect();
    let actions: Vec<_> = moved.iter().map(|one| one.reported.action.as_str()).collect();
    let statuses: Vec<_> = moved.iter().map(|one| one.reported.status.as_deref()).collect();
    let said: Vec<_> = moved.iter().map(|one| one.reported.said.as_deref()).collect();
    let noted: Vec<_> = moved.iter().map(|one| one.effect.noted).collect();
    let read: Vec<_> = moved.iter().map(|one| one.effect.read).collect();
    tenant
        .execute(
            "update send_recipients rc set state = u.state,
                 reported = case when u.noted then u.action else rc.reported end,
                 reported_status = case when u.noted then u.status else rc.reported_status end,
                 reported_said = case when u.noted then u.said else rc.reported_said end,
                 reported_by = case when u.noted then $9 else rc.reported_by end,
                 reported_at = case when u.noted then now() else rc.reported_at end,
                 read_at = case when u.read then coalesce(rc.read_at, $10, now()) else rc.read_at end
             from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[])
                  as u(position, state, action, status, said, noted, read)
             where rc.send_request_id = $1 and rc.position = u.position",
            &[
                &request.0,
                &positions,
                &states,
                &actions,
                &statuses,
                &said,
                &noted,
                &read,
                &told.reporter,
                &told.received_at,
            ],
        )
        .await?;
    Ok(())
}

/// Tells whoever sent it who cannot be reached and who is still tried for, and takes back what has passed.
async fn tell(tenant: &Tenant, held: &Held, moved: &[Moved<'_>], states: &[RecipientState]) -> Result<()> {
    let subject = Subject::Email(held.id);
    let count = |state| states.iter().filter(|stands| **stands == state).count();
    let told = [
        (AlertKind::RecipientBounced, RecipientState::Bounced, "bounced"),
        (AlertKind::RecipientDelayed, RecipientState::Delayed, "delayed"),
    ];
    for (kind, state, name) in told {
        let first =
            moved.iter().find(|one| one.was != state && one.state == state && states.contains(&state));
        let Some(first) = first else { continue };
        let alert = NewAlert {
            kind,
            subject,
            detail: String::new(),
            parameters: json!({
                "reporter": first.told.reporter.as_deref().unwrap_or("further on"),
                name: count(state),
                "recipients": states.len(),
            }),
            server_said: first.reported.said.clone(),
        };
        alert::raise(tenant, &alert).await?;
    }
    if count(RecipientState::Delayed) == 0 {
        alert::resolve(tenant, &[AlertKind::RecipientDelayed], subject, None).await?;
    }
    Ok(())
}
