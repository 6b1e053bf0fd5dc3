//! Everything a cycle or a test needs to know of its mailbox before it connects, in one query, and no secret: that is
//! opened by `credential::open` right before it is used.

use std::time::Duration;

use jiff::Timestamp;
use model::cadence::{Policy, Terms};
use model::endpoint::Endpoint;
use model::id::{CredentialId, MailboxId, ProfileId};
use model::mailbox::{Acceptance, Approval, DeliveryMethod, Owner, TestResult};
use model::profile::{CredentialsOn, ProfileKind};
use model::setting;
use model::workload::Workload;
use serde_json::Value;

use super::found::{Service, service};
use crate::profile::{self, ProfileFields, rate};
use crate::row::{named, owner};
use crate::{Error, Result, Tenant};

/// A mailbox as one cycle of one workload sees it.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of its own, and any mix is possible")]
pub struct MailboxForCycle {
    /// Which.
    pub id: MailboxId,
    /// Which workload.
    pub workload: Workload,
    /// The name to show.
    pub name: String,
    /// The address.
    pub address: String,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// The name that outgoing mail shows beside the address.
    pub owner_name: Option<String>,
    /// The server's profile.
    pub profile: ProfileId,
    /// The profile's version: which of two numbers that limit the same server is the newer one.
    pub server_version: i64,
    /// How that server is reached and how much of it may be used.
    pub server: ProfileFields,
    /// How its server is found, where the profile names none.
    pub sought: Option<Sought>,
    /// How much of it may be used in a time.
    pub rates: rate::Rates,
    /// The id by which the profile's servers know Lockstep, where it signs in by tokens.
    pub client_id: Option<String>,
    /// The credential to sign in with, where one is stored; open it right before use.
    pub credential: Option<CredentialId>,
    /// The login that mail is read with: with the endpoint, the folder of its items.
    pub incoming_login: String,
    /// Whether an administrator vouches for it.
    pub approval: Approval,
    /// How the workload is delivered.
    pub method: DeliveryMethod,
    /// Whether the workload is processed.
    pub enabled: bool,
    /// What its last test said.
    pub test_result: TestResult,
    /// Whether incoming mail is processed, for the cadence of appointments.
    pub incoming_enabled: bool,
    /// Why the profile is paused, if it is.
    pub paused_reason: Option<String>,
    /// Which messages become records.
    pub acceptance: Acceptance,
    /// Nothing received before this is processed: the later of the profile's and the mailbox's.
    pub floor: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded.
    pub delete_after_processing: bool,
    /// Whether its server lost, within a day, what was sent ahead although it announces to take it.
    pub sends_nothing_ahead: bool,
    /// The organization's policy.
    pub policy: Policy,
    /// The largest message that is read or sent, in bytes.
    pub max_message_bytes: u64,
    /// How long a send may wait.
    pub max_send_age: Duration,
    /// Whether an Exchange server keeps what was sent in its Sent Items.
    pub save_sent_items: bool,
}

/// A mailbox whose server is found by autodiscover. What is known of it stands in the mailbox's `server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Whether it was found.
    pub known: bool,
    /// Whether something says that it is elsewhere, and it was not looked for lately.
    pub in_doubt: bool,
}

/// How long what was found is gone on with before it is looked for again, however often something says that it is elsewhere.
const BETWEEN_SEARCHES: Duration = Duration::from_secs(900);

impl MailboxForCycle {
    /// Whether its server must be looked for before anything connects.
    pub fn must_be_sought(&self) -> bool {
        self.sought.is_some_and(|sought| !sought.known || sought.in_doubt)
    }

    /// Leads to the web service that was found.
    pub fn lead_to(&mut self, service: &Service) {
        self.server.incoming = service.endpoint();
        self.server.outgoing = service.endpoint();
        if let Some(exchange) = &mut self.server.exchange {
            exchange.path = Some(service.path.clone());
        }
        self.sought = Some(Sought { known: true, in_doubt: false });
    }

    /// Whether anything may be processed at all: approved, tested and enabled, on a profile that is not paused. A
    /// test does not ask this.
    pub fn may_run(&self) -> bool {
        self.approval == Approval::Approved
            && self.enabled
            && self.method == DeliveryMethod::ServerSide
            && self.paused_reason.is_none()
    }

    /// Where the workload connects.
    pub fn endpoint(&self) -> &Endpoint {
        if self.workload == Workload::Outgoing { &self.server.outgoing } else { &self.server.incoming }
    }

    /// What the cadence is computed from.
    pub fn terms(&self) -> Terms {
        Terms {
            policy: self.policy,
            workload: self.workload,
            incoming_too: self.incoming_enabled,
            min_polling: Duration::from_secs(60 * u64::from(self.server.min_polling_minutes)),
            profile_credential: self.server.limits.credentials_on == CredentialsOn::Profile,
        }
    }

    /// The folder of the mailbox's items. With POP3 they are named within the maildrop that the login opens; with Exchange
    /// within the mailbox, wherever the server has it today.
    pub fn incoming_folder(&self) -> String {
        match self.server.kind {
            ProfileKind::Pop3Smtp => {
                format!("{} {}", self.server.incoming.key(), self.incoming_login.to_lowercase())
            }
            ProfileKind::ExchangeEws => format!("{}inbox", self.within()),
        }
    }

    /// What the names of all folders of an Exchange mailbox begin with.
    pub fn within(&self) -> String {
        format!("ews {} ", self.address.to_lowercase())
    }
}

/// What a cycle of this workload needs to know; `None` when there is no such mailbox.
pub async fn for_cycle(
    tenant: &Tenant,
    id: MailboxId,
    workload: Workload,
) -> Result<Option<MailboxForCycle>> {
    let row = tenant
        .query_opt(
            &format!(
                "select m.name, m.address,
                    case when m.user_id is not null then 'user' when m.queue_id is not null then 'queue' end as owner_kind,
                    coalesce(m.user_id, m.queue_id) as owner_id, coalesce(u.name, q.name) as owner_name,
                    m.profile_id, p.version as server_version, {}, {}, p.paused_reason,
                    (select a.client_id from oauth_applications a where a.organization_id = p.organization_id
                        and a.profile_id = p.id) as client_id, c.id as credential_id, m.incoming_login, m.approval, m.acceptance,
                    greatest(p.process_email_received_after, m.process_email_received_after) as floor,
                    f.host as found_host, f.port as found_port, f.path as found_path, f.told_by,
                    (f.doubted_at is not null and f.asked_at <= now() - make_interval(secs => $3)) as found_in_doubt,
                    m.delete_after_processing, w.method, w.enabled, w.test_result,
                    (select i.enabled from mailbox_workloads i where i.organization_id = m.organization_id
                        and i.mailbox_id = m.id and i.workload = 'incoming') as incoming_enabled,
                    exists (select from cursors k where k.organization_id = m.organization_id and k.mailbox_id = m.id
                        and k.workload = w.workload and k.value ->> 'loses_what_is_sent_ahead' = 'true'
                        and k.modified_at > now() - interval '1 day') as sends_nothing_ahead,
                    coalesce((select jsonb_object_agg(s.name, s.value) from settings s
                        where s.organization_id = m.organization_id), '{{}}') as settings
                 from mailboxes m
                 join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
                 join mailbox_workloads w on w.organization_id = m.organization_id and w.mailbox_id = m.id
                                         and w.workload = $2
                 left join found_services f on f.organization_id = m.organization_id and f.mailbox_id = m.id
                 left join users u on u.organization_id = m.organization_id and u.id = m.user_id
                 left join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
                 left join credentials c on c.organization_id = m.organization_id
                     and case p.credentials_on when 'profile' then c.profile_id = p.id else c.mailbox_id = m.id end
                 where m.id = $1",
                profile::FIELDS,
                rate::COLUMNS
            ),
            &[&id.0, &workload.as_str(), &BETWEEN_SEARCHES.as_secs_f64()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let settings: Value = row.try_get("settings")?;
    let megabytes = number(&settings, setting::MAX_MESSAGE_MB)?;
    let hours = number(&settings, setting::MAX_SEND_AGE_HOURS)?;
    let policy = value(&settings, setting::CADENCE_POLICY)?;
    let mut mailbox = MailboxForCycle {
        id,
        workload,
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        owner: owner(&row)?,
        owner_name: row.try_get("owner_name")?,
        profile: ProfileId(row.try_get("profile_id")?),
        server_version: row.try_get("server_version")?,
        server: profile::fields(&row)?,
        sought: None,
        rates: rate::read(&row)?,
        client_id: row.try_get("client_id")?,
        credential: row.try_get::<_, Option<uuid::Uuid>>("credential_id")?.map(CredentialId),
        incoming_login: row.try_get("incoming_login")?,
        approval: named(&row, "approval")?,
        method: named(&row, "method")?,
        enabled: row.try_get("enabled")?,
        test_result: named(&row, "test_result")?,
        incoming_enabled: row.try_get::<_, Option<bool>>("incoming_enabled")?.unwrap_or(false),
        paused_reason: row.try_get("paused_reason")?,
        acceptance: named(&row, "acceptance")?,
        floor: row.try_get("floor")?,
        delete_after_processing: row.try_get("delete_after_processing")?,
        sends_nothing_ahead: row.try_get("sends_nothing_ahead")?,
        policy: policy.as_str().unwrap_or_default().parse()?,
        max_message_bytes: megabytes * 1024 * 1024,
        max_send_age: Duration::from_secs(hours * 3600),
        save_sent_items: value(&settings, setting::SAVE_SENT_ITEMS)?.as_bool().unwrap_or(true),
    };
    if mailbox.server.exchange.as_ref().is_some_and(|exchange| exchange.path.is_none()) {
        mailbox.sought = Some(Sought { known: false, in_doubt: false });
        if let Some(service) = service(&row)? {
            mailbox.lead_to(&service);
            let in_doubt = row.try_get::<_, Option<bool>>("found_in_doubt")?.unwrap_or(false);
            mailbox.sought = Some(Sought { known: true, in_doubt });
        }
    }
    Ok(Some(mailbox))
}

fn value(settings: &Value, name: &str) -> Result<Value> {
    let setting = setting::find(name).map_err(|error| Error::Broken(error.to_string()))?;
    Ok(settings.get(name).cloned().unwrap_or_else(|| setting.default()))
}

fn number(settings: &Value, name: &str) -> Result<u64> {
    Ok(value(settings, name)?.as_u64().unwrap_or_default())
}
