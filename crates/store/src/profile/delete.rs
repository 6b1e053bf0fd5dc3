//! Removing a profile that no mailbox uses.

use model::id::ProfileId;

use super::{Profile, get, unknown};
use crate::change::Author;
use crate::deletion::{Deletion, Removed, bury, part};
use crate::refusal::{Refusal, check_version};
use crate::{Result, Tenant};

/// What removing a profile would do; refused while mailboxes use it, with how many they are.
pub async fn deletion(tenant: &Tenant, id: ProfileId) -> Result<Deletion> {
    let profile = get(tenant, id).await?.ok_or(unknown("id"))?;
    described(tenant, &profile).await
}

async fn described(tenant: &Tenant, profile: &Profile) -> Result<Deletion> {
    let id = profile.id.0;
    let goes = vec![
        part(
            tenant,
            id,
            ("credentials", "its secret is forgotten"),
            "select count(*) from credentials where profile_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("alerts", "those about its server"),
            "select count(*) from alerts where profile_id = $1",
        )
        .await?,
    ];
    let stays = vec![
        part(
            tenant,
            id,
            ("changes", "its history stays as long as any"),
            "select count(*) from changes where record_type = 'profile' and record_id = $1",
        )
        .await?,
    ];
    let (name, mailboxes) = (profile.fields.name.clone(), profile.mailboxes);
    let refused = (mailboxes > 0).then(|| Refusal::ProfileInUse { name: name.clone(), mailboxes });
    Ok(Deletion { record_type: "profile", name, version: profile.version, goes, stays, refused })
}

/// Removes a profile that no mailbox uses; says what went and what stays.
pub async fn delete(tenant: &Tenant, id: ProfileId, expected: Option<i64>, by: &Author) -> Result<Deletion> {
    tenant.query_opt("select from profiles where id = $1 for update", &[&id.0]).await?;
    let profile = get(tenant, id).await?.ok_or(unknown("id"))?;
    check_version("profile", expected, profile.version)?;
    let told = described(tenant, &profile).await?;
    if let Some(refused) = told.refused {
        return Err(refused.into());
    }
    tenant.execute("delete from profiles where id = $1", &[&id.0]).await?;
    let removed = Removed {
        record_type: "profile",
        id: id.0,
        name: &profile.fields.name,
        address: None,
        version: profile.version,
        by,
    };
    bury(tenant, &removed).await?;
    Ok(told)
}
