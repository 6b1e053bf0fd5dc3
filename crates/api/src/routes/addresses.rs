//! The address table, filled in bulk by a host application: whom an address belongs to.

use model::address::EmailAddress;
use serde::{Deserialize, Serialize};
use store::address::{self, PartyAddress};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

/// Addresses of one request at most.
const MOST: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upsert))
}

/// Addresses to add or rename.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Addresses {
    /// Up to 10,000.
    addresses: Vec<Entry>,
}

/// One address of one party.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Address)]
struct Entry {
    /// The address; compared in lower case.
    #[schema(value_type = String, format = Email)]
    address: EmailAddress,
    /// `account`, `lead` or a type of the host application: lower-case letters, digits and `_`, up to 50. `user`, `queue`
    /// and `contact` follow their own records.
    #[schema(example = "account")]
    party_type: String,
    /// The record's id in the host application.
    party_id: Uuid,
    /// The name to show, up to 200 characters.
    #[serde(default)]
    #[schema(required = false)]
    name: String,
}

/// What a bulk load did.
#[derive(Serialize, ToSchema)]
struct Upserted {
    /// Rows that were added or renamed; those that were the same already are not counted.
    changed: u64,
}

/// Add or rename addresses in bulk, all or none.
#[utoipa::path(
    put, path = "/addresses", tag = "contacts", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("each row says all there is to say of its address"))),
    request_body = Addresses, responses((status = 200, body = Upserted))
)]
async fn upsert(caller: Caller, Json(new): Json<Addresses>) -> Result<Json<Upserted>, Problem> {
    if new.addresses.len() > MOST {
        let cause = format!("`addresses` has {} entries", new.addresses.len());
        return Err(Problem::invalid("addresses", cause, "give up to 10000 at once"));
    }
    let mut parties = Vec::with_capacity(new.addresses.len());
    for (place, entry) in new.addresses.into_iter().enumerate() {
        check(place, &entry)?;
        parties.push(PartyAddress {
            address: entry.address.as_str().to_owned(),
            party_type: entry.party_type,
            party_id: entry.party_id,
            name: entry.name,
        });
    }
    let tenant = caller.begin().await?;
    let changed = address::upsert(&tenant, &parties).await?;
    tenant.commit().await?;
    Ok(Json(Upserted { changed }))
}

fn check(place: usize, entry: &Entry) -> Result<(), Problem> {
    let kind = entry.party_type.as_str();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let field = format!("addresses[{place}].party_type");
    if !(1..=50).contains(&kind.len()) || !kind.bytes().all(plain) {
        return Err(Problem::invalid(
            &field,
            "a type has other characters than it may, or too many",
            "give up to 50 lower-case letters, digits and `_`, such as `account`",
        ));
    }
    if matches!(kind, "user" | "queue" | "contact") {
        return Err(Problem::invalid(
            &field,
            format!("addresses of a {kind} follow the {kind}'s own record"),
            format!("change the {kind} instead"),
        ));
    }
    if entry.name.chars().count() > 200 {
        let field = format!("addresses[{place}].name");
        return Err(Problem::invalid(&field, "a name is longer than 200 characters", "shorten it"));
    }
    Ok(())
}
