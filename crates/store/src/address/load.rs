//! Addresses as a host application says them, in bulk: what it says of an address or of a whole record is what holds from
//! then on, and saying it again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::address::normalize;
use uuid::Uuid;

use super::{PartyAddress, upsert};
use crate::{Result, Tenant};

/// What a host application says in one row.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// The record has this address.
    Has(PartyAddress),
    /// It has it no longer; the name does not matter.
    Lost(PartyAddress),
    /// The record has no address any more, or is gone.
    Gone {
        /// The kind of record.
        party_type: String,
        /// Which.
        party_id: Uuid,
    },
}

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that were added or renamed.
    pub changed: u64,
    /// Rows that were taken away.
    pub removed: u64,
}

/// Does what the rows say, in three statements whatever their number. Of two rows about one address the later holds.
pub async fn load(tenant: &Tenant, said: &[Said]) -> Result<Loaded> {
    let mut has = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for row in said {
        match row {
            Said::Has(party) => {
                has.insert(key(party), Some(party.clone()));
            }
            Said::Lost(party) => {
                has.insert(key(party), None);
            }
            Said::Gone { party_type, party_id } => {
                has.retain(|(kind, id, _), _| (kind, id) != (party_type, party_id));
                gone.insert((party_type.clone(), *party_id));
            }
        }
    }
    let kept: Vec<_> = has.values().flatten().cloned().collect();
    let lost: Vec<_> = has.iter().filter(|(_, party)| party.is_none()).map(|(key, _)| key).collect();
    let mut loaded = Loaded::default();
    if !gone.is_empty() {
        let types: Vec<_> = gone.iter().map(|(kind, _)| kind.as_str()).collect();
        let ids: Vec<_> = gone.iter().map(|(_, id)| *id).collect();
        // What the same load says anew is not taken away first: it would count as changed each time.
        let kept_types: Vec<_> = kept.iter().map(|party| party.party_type.as_str()).collect();
        let kept_ids: Vec<_> = kept.iter().map(|party| party.party_id).collect();
        let kept_keys: Vec<_> = kept.iter().map(|party| normalize(&party.address)).collect();
        loaded.removed += tenant
            .execute(
                "delete from addresses a using unnest($1::text[], $2::uuid[]) as g(t, i)
                 where a.party_type = g.t and a.party_id = g.i
                   and (a.party_type, a.party_id, a.address) not in (
                        select * from unnest($3::text[], $4::uuid[], $5::text[]))",
                &[&types, &ids, &kept_types, &kept_ids, &kept_keys],
            )
            .await?;
    }
    if !lost.is_empty() {
        let types: Vec<_> = lost.iter().map(|(kind, ..)| kind.as_str()).collect();
        let ids: Vec<_> = lost.iter().map(|(_, id, _)| *id).collect();
        let keys: Vec<_> = lost.iter().map(|(.., address)| address.as_str()).collect();
        loaded.removed += tenant
            .execute(
                "delete from addresses a using unnest($1::text[], $2::uuid[], $3::text[]) as l(t, i, a)
                 where a.party_type = l.t and a.party_id = l.i and a.address = l.a",
                &[&types, &ids, &keys],
            )
            .await?;
    }
    loaded.changed = upsert(tenant, &kept).await?;
    Ok(loaded)
}

fn key(party: &PartyAddress) -> (String, Uuid, String) {
    (party.party_type.clone(), party.party_id, normalize(&party.address))
}
