//! How much a profile's servers take in a time: whose figures hold, and what is given beside them. What is in force is
//! `model::rate`'s to say; nothing is counted here.

use model::cadence::DueReason;
use model::id::ProfileId;
use model::rate::{RateLimit, RateProvider};
use tokio_postgres::Row;

use super::unknown;
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_version};
use crate::row::named;
use crate::{Error, Result, Tenant, change, schedule};

/// How many rates may be given for a profile: with the figures they are asked for with each connection.
const MOST: usize = 8;

/// What is set of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Whose figures hold.
    pub provider: RateProvider,
    /// What was given: of a scope, unit and window it passes over a figure.
    pub given: Vec<RateLimit>,
}

/// The columns of `profiles` that [`read`] reads, with `p` for the table.
pub(crate) const COLUMNS: &str = "p.rate_provider, p.rate_limits";

/// Reads what [`COLUMNS`] selected.
pub(crate) fn read(row: &Row) -> Result<Rates> {
    let given = serde_json::from_value(row.try_get("rate_limits")?);
    let given = given.map_err(|error| Error::Broken(format!("the rates of a profile: {error}")))?;
    Ok(Rates { provider: named(row, "rate_provider")?, given })
}

/// What is set of a profile, with the profile's version; none when there is no such profile.
pub async fn get(tenant: &Tenant, id: ProfileId) -> Result<Option<(Rates, i64)>> {
    let row = tenant
        .query_opt(&format!("select {COLUMNS}, p.version from profiles p where p.id = $1"), &[&id.0])
        .await?;
    row.map(|row| Ok((read(&row)?, row.try_get("version")?))).transpose()
}

/// Sets them; `expected` is the version of the profile that the caller read. What waits because a rate was spent asks anew.
pub async fn set(
    tenant: &Tenant,
    id: ProfileId,
    expected: Option<i64>,
    new: &Rates,
    by: &Author,
) -> Result<i64> {
    check(new)?;
    tenant.query_opt("select from profiles where id = $1 for no key update", &[&id.0]).await?;
    let (old, version) = get(tenant, id).await?.ok_or(unknown("id"))?;
    check_version("profile", expected, version)?;
    let fields = Fields::new().changed("rate_provider", &old.provider, &new.provider).changed(
        "rate_limits",
        &old.given,
        &new.given,
    );
    if fields.is_empty() {
        return Ok(version);
    }
    let given = serde_json::to_value(&new.given).map_err(|error| Error::Broken(error.to_string()))?;
    tenant
        .execute(
            "update profiles set rate_provider = $2, rate_limits = $3, version = version + 1, modified_at = now()
             where id = $1",
            &[&id.0, &new.provider.as_str(), &given],
        )
        .await?;
    tenant
        .execute(
            "update schedules set due_at = case when due_at is null then null else now() end, not_before = null,
                 not_before_reason = null
             where profile_id = $1 and not_before_reason = $2",
            &[&id.0, &DueReason::RateSpent.as_str()],
        )
        .await?;
    let version = version + 1;
    change::write(tenant, Change { record_type: "profile", id: id.0, version, by, fields }).await?;
    schedule::poke(tenant).await?;
    Ok(version)
}

fn check(new: &Rates) -> Result<(), Refusal> {
    if new.given.len() > MOST {
        let cause = format!("`rates` has {} entries", new.given.len());
        return Err(Refusal::invalid("rates", cause, format!("give {MOST} at most")));
    }
    for (place, rate) in new.given.iter().enumerate() {
        if let Some(fault) = rate.fault() {
            let remedy = "give an amount of at least 1 and a window of 1 to 86400 seconds";
            return Err(Refusal::invalid("rates", format!("in the rate `{rate}` {fault}"), remedy));
        }
        if new.given[..place].iter().any(|other| other.counts_as(rate)) {
            let cause = format!("`rates` names the scope, unit and window of `{rate}` twice");
            return Err(Refusal::invalid("rates", cause, "give each once"));
        }
    }
    Ok(())
}
