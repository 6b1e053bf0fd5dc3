//! What is known of the servers behind a profile, per endpoint: the breaker that pauses every mailbox of a profile
//! while its server is down, lets one probe through, and opens up slowly (`model::window::slow_start`). Disables nothing.

use std::time::Duration;

use jiff::Timestamp;
use model::alert::AlertKind;
use model::endpoint::{Endpoint, Protocol};
use model::id::{MailboxId, ProfileId};
use model::window::RECOVERED;
use model::workload::Workload;

use crate::{Result, Tenant};

/// Where an endpoint's breaker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Which endpoint, by its key.
    pub endpoint: String,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// Outages in a row: what the next back-off doubles by. 1 while the server comes back.
    pub failures: u32,
    /// Until when nothing is tried there.
    pub open_until: Option<Timestamp>,
}

/// The protocols that a workload's cycles speak, as the ring's scan looks for their breakers.
pub(crate) fn protocols(workload: Workload) -> Vec<&'static str> {
    match workload {
        Workload::Incoming => vec![Protocol::Pop3.as_str(), Protocol::Ews.as_str()],
        Workload::Outgoing => vec![Protocol::Smtp.as_str(), Protocol::Ews.as_str()],
        Workload::Act => Vec::new(),
    }
}

/// How many outages in a row an endpoint has behind it; what `model::cadence::next` doubles a back-off by.
pub async fn server_failures(tenant: &Tenant, profile: ProfileId, endpoint: &Endpoint) -> Result<u32> {
    let row = tenant
        .query_opt(
            "select failures from endpoints where profile_id = $1 and endpoint = $2",
            &[&profile.0, &endpoint.key()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0)))
}

/// Opens the endpoint's breaker for `pause`. Failures that come in while it is open speak of the same outage and
/// count once. Gives the outages in a row, this one included.
pub async fn server_failed(
    tenant: &Tenant,
    profile: ProfileId,
    endpoint: &Endpoint,
    pause: Duration,
) -> Result<u32> {
    let row = tenant
        .query_one(
            "insert into endpoints as e (organization_id, profile_id, endpoint, protocol, failing_since, failures, open_until)
             select current_organization(), $1, $2,
                    -- A profile whose mailboxes' servers are found has many, and one that is down says nothing of the others.
                    case when p.kind = 'exchange_ews' and p.exchange_path is null then 'ews_found' else $3 end,
                    now(), 1, now() + make_interval(secs => $4)
             from profiles p where p.id = $1
             on conflict (organization_id, profile_id, endpoint) do update set
                failing_since = coalesce(e.failing_since, now()),
                failures = e.failures + case when e.open_until > now() then 0 else 1 end,
                open_until = greatest(e.open_until, excluded.open_until),
                worked = 0
             returning failures",
            &[&profile.0, &endpoint.key(), &endpoint.protocol.as_str(), &pause.as_secs_f64()],
        )
        .await?;
    Ok(u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0))
}

/// Says that the server answered: nothing is paused any more, and one more may be tried at once, until it has come back
/// altogether (`model::window::has_recovered`, whose formula stands here in SQL). Writes nothing where nothing failed.
pub async fn server_worked(tenant: &Tenant, profile: ProfileId, endpoint: &Endpoint) -> Result<()> {
    tenant
        .execute(
            "update endpoints e set open_until = null,
                failures = case when e.worked + 1 >= w.whole then 0 else 1 end,
                worked = case when e.worked + 1 >= w.whole then 0 else e.worked + 1 end,
                failing_since = case when e.worked + 1 >= w.whole then null else e.failing_since end
             from (
                select least($3, 2 * case credentials_on when 'profile' then max_connections
                                                         else max_in_flight end::bigint) as whole
                from profiles where id = $1
             ) w
             where e.profile_id = $1 and e.endpoint = $2 and e.failures > 0",
            &[&profile.0, &endpoint.key(), &i64::from(RECOVERED)],
        )
        .await?;
    Ok(())
}

/// Whether a cycle may try a server that was found for its mailbox, and if not when it may: the scheduler holds no mailbox back
/// for such a server, which is not that of all of the profile. Once the pause is over the first who asks is the probe, and the
/// others wait for `probe`, unless it ends sooner.
pub async fn held_back(
    tenant: &Tenant,
    profile: ProfileId,
    endpoint: &Endpoint,
    probe: Duration,
) -> Result<Option<Duration>> {
    let key = endpoint.key();
    let row = tenant
        .query_opt(
            "select extract(epoch from e.open_until - now())::float8 from endpoints e
             where e.profile_id = $1 and e.endpoint = $2 and e.protocol = 'ews_found' and e.open_until is not null",
            &[&profile.0, &key],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let left: f64 = row.try_get(0)?;
    if left > 0.0 {
        return Ok(Some(Duration::from_secs_f64(left)));
    }
    let ours = tenant
        .execute(
            "update endpoints set open_until = now() + make_interval(secs => $3)
             where profile_id = $1 and endpoint = $2 and open_until <= now()",
            &[&profile.0, &key, &probe.as_secs_f64()],
        )
        .await?;
    Ok((ours == 0).then_some(probe))
}

/// The breakers of a profile that are not closed, for people.
pub async fn breakers(tenant: &Tenant, profile: ProfileId) -> Result<Vec<Breaker>> {
    let rows = tenant
        .query(
            "select endpoint, failing_since, failures, open_until from endpoints
             where profile_id = $1 and failures > 0 order by endpoint",
            &[&profile.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Breaker {
                endpoint: row.try_get("endpoint")?,
                failing_since: row.try_get("failing_since")?,
                failures: u32::try_from(row.try_get::<_, i32>("failures")?).unwrap_or(0),
                open_until: row.try_get("open_until")?,
            })
        })
        .collect()
}

/// How widely a profile's server refuses sign-ins: what tells a server that lost its directory from a person who
/// changed a password (design section 4: at least 5 mailboxes and 10% of those enabled, within 10 minutes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Mailboxes refused within the last ten minutes, or last of all while the server fails; the asking one included.
    pub mailboxes: i64,
    /// Mailboxes with this workload enabled.
    pub enabled: i64,
}

/// Counts the refusals of a profile and workload, taking the asking mailbox as refused. `failing` says that the server
/// is known to fail: few mailboxes try it then, so a refusal counts until a cycle of its mailbox says otherwise.
pub async fn refusals(
    tenant: &Tenant,
    profile: ProfileId,
    workload: Workload,
    asking: MailboxId,
    failing: bool,
) -> Result<Refusals> {
    // As `schedule::finish` writes it, whosever failure it was taken for.
    let refused =
        [AlertKind::CredentialsRefused, AlertKind::ServerBusy].map(|kind| format!("failed:{kind}")).to_vec();
    let row = tenant
        .query_one(
            "select count(*) filter (where s.mailbox_id = $3
                        or ((s.refusals > 0 or s.last_outcome = any($4))
                            and ($5 or s.last_finished_at > now() - interval '10 minutes'))) as refused,
                    count(*) as enabled
             from mailboxes m
             join mailbox_workloads w on w.organization_id = m.organization_id and w.mailbox_id = m.id
                and w.workload = $2 and w.enabled
             join schedules s on s.organization_id = m.organization_id and s.mailbox_id = m.id and s.workload = $2
             where m.profile_id = $1",
            &[&profile.0, &workload.as_str(), &asking.0, &refused, &failing],
        )
        .await?;
    Ok(Refusals { mailboxes: row.try_get("refused")?, enabled: row.try_get("enabled")? })
}
