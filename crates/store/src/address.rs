//! The one table of addresses: who an address belongs to, whatever kind of record that is.

mod load;

use model::address::normalize;
use uuid::Uuid;

use crate::{Result, Tenant};

pub use load::{Loaded, Said, load};

/// One address of one party.
#[derive(Clone, PartialEq, Eq)]
pub struct PartyAddress {
    /// The address; it is stored in its normal form.
    pub address: String,
    /// `user`, `queue`, `contact`, `account`, `lead` or a type of the host application.
    pub party_type: String,
    /// Which.
    pub party_id: Uuid,
    /// The name to show.
    pub name: String,
}

/// Whom an address was found to belong to.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The address in its normal form, as it was asked.
    pub address: String,
    /// The kind of party.
    pub party_type: String,
    /// Which.
    pub party_id: Uuid,
    /// The name to show.
    pub name: String,
}

/// Whom each of these normalized addresses belongs to, in one query. An address of several parties goes to the first
/// in the order user, contact, account, lead, other (reference 3.6); an unknown address is left out.
pub async fn resolve(tenant: &Tenant, normalized: &[String]) -> Result<Vec<Resolved>> {
    let rows = tenant
        .query(
            "select distinct on (address) address, party_type, party_id, name
             from (select address, party_type, party_id, name from addresses where address = any($1::text[])
                   union all
                   -- A mailbox speaks for its owner even where its address is not the owner's own.
                   select m.address_key, 'user', m.user_id, u.name from mailboxes m
                   join users u on u.organization_id = m.organization_id and u.id = m.user_id and u.active
                   where m.address_key = any($1::text[])
                   union all
                   select m.address_key, 'queue', m.queue_id, q.name from mailboxes m
                   join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
                   where m.address_key = any($1::text[])) as known
             order by address,
                      case party_type when 'user' then 1 when 'contact' then 2 when 'account' then 3 when 'lead' then 4
                                      else 5 end,
                      party_type, party_id",
            &[&normalized],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Resolved {
                address: row.try_get(0)?,
                party_type: row.try_get(1)?,
                party_id: row.try_get(2)?,
                name: row.try_get(3)?,
            })
        })
        .collect()
}

/// Adds or renames addresses in bulk; how many rows that touched.
pub async fn upsert(tenant: &Tenant, addresses: &[PartyAddress]) -> Result<u64> {
    let keys: Vec<_> = addresses.iter().map(|party| normalize(&party.address)).collect();
    let types: Vec<_> = addresses.iter().map(|party| party.party_type.as_str()).collect();
    let ids: Vec<_> = addresses.iter().map(|party| party.party_id).collect();
    let names: Vec<_> = addresses.iter().map(|party| party.name.as_str()).collect();
    // Sorted, so that two bulk loads never wait for each other in a circle; distinct, because one statement may
    // touch a row only once.
    tenant
        .execute(
            "insert into addresses (organization_id, address, party_type, party_id, name)
             select distinct on (a, t, i) current_organization(), a, t, i, n
             from unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) as u(a, t, i, n)
             order by a, t, i
             on conflict (organization_id, address, party_type, party_id) do update set name = excluded.name
             where addresses.name <> excluded.name",
            &[&keys, &types, &ids, &names],
        )
        .await
}

/// Makes exactly these the addresses of one party.
pub(crate) async fn replace(
    tenant: &Tenant,
    party_type: &str,
    party_id: Uuid,
    name: &str,
    addresses: &[String],
) -> Result<()> {
    let keys: Vec<_> = addresses.iter().map(|address| normalize(address)).collect();
    tenant
        .execute(
            "delete from addresses where party_type = $1 and party_id = $2 and address <> all($3::text[])",
            &[&party_type, &party_id, &keys],
        )
        .await?;
    let parties: Vec<_> = keys
        .into_iter()
        .map(|address| PartyAddress {
            address,
            party_type: party_type.to_owned(),
            party_id,
            name: name.to_owned(),
        })
        .collect();
    upsert(tenant, &parties).await?;
    Ok(())
}
