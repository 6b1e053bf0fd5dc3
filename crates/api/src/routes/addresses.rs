//! The address table, filled in bulk by a host application: whom an address belongs to.

use model::address::EmailAddress;
use serde::{Deserialize, Serialize};
use store::address::{self, PartyAddress, Said};
use store::record_type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

/// Rows of one request at most.
const MOST: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upsert))
}

/// What a host application says of its records' addresses.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Addresses {
    /// Up to 1,000 rows. Of two about one address of one record, the later holds.
    addresses: Vec<Entry>,
}

/// One address of one record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Address)]
struct Entry {
    /// The address; compared in lower case. Left out with `removed`: every address of the record.
    #[schema(format = Email)]
    address: Option<String>,
    /// `account`, `lead` or a registered type. `user`, `queue` and `contact` follow their own records.
    #[schema(example = "account")]
    party_type: String,
    /// The record's id in the host application.
    party_id: Uuid,
    /// The name to show, up to 200 characters.
    #[serde(default)]
    #[schema(required = false)]
    name: String,
    /// The record has the address no longer: it was moved to another record, or the record is gone.
    #[serde(default)]
    #[schema(required = false)]
    removed: bool,
}

/// What a bulk load did.
#[derive(Serialize, ToSchema)]
struct Loaded {
    /// Rows that were added or renamed; those that were the same already are not counted.
    changed: u64,
    /// Rows that were taken away.
    removed: u64,
    /// Rows that could not be taken. All others were.
    rejected: Vec<Rejected>,
}

/// A row that could not be taken.
#[derive(Serialize, ToSchema)]
#[schema(as = RejectedAddress)]
struct Rejected {
    /// Its place in the request, from 0.
    row: usize,
    /// The field.
    field: &'static str,
    /// What is wrong with it.
    cause: String,
    /// What to do about it.
    remedy: String,
}

/// Say in bulk which addresses the records of a host application have. A row that cannot be taken is named, and holds up no
/// other. Saying the same again changes nothing. Emails that are there keep the parties that were known when they came;
/// an address that nobody knew then is looked up whenever the email is read.
#[utoipa::path(
    put, path = "/addresses", tag = "contacts", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("each row says all there is to say of its address"))),
    request_body = Addresses, responses((status = 200, body = Loaded))
)]
async fn upsert(caller: Caller, Json(new): Json<Addresses>) -> Result<Json<Loaded>, Problem> {
    if new.addresses.len() > MOST {
        let cause = format!("`addresses` has {} entries", new.addresses.len());
        return Err(Problem::invalid("addresses", cause, "give up to 1000 at once"));
    }
    let tenant = caller.begin().await?;
    let types = record_type::list(&tenant).await?;
    let types: Vec<_> = types.into_iter().map(|known| known.name).collect();
    let (mut said, mut rejected) = (Vec::with_capacity(new.addresses.len()), Vec::new());
    for (row, entry) in new.addresses.into_iter().enumerate() {
        match checked(entry, &types) {
            Ok(taken) => said.push(taken),
            Err((field, cause, remedy)) => rejected.push(Rejected { row, field, cause, remedy }),
        }
    }
    let loaded = address::load(&tenant, &said).await?;
    tenant.commit().await?;
    Ok(Json(Loaded { changed: loaded.changed, removed: loaded.removed, rejected }))
}

fn checked(entry: Entry, types: &[String]) -> Result<Said, (&'static str, String, String)> {
    let Entry { address, party_type, party_id, name, removed } = entry;
    if matches!(party_type.as_str(), "user" | "queue" | "contact") {
        let cause = format!("addresses of a {party_type} follow the {party_type}'s own record");
        return Err(("party_type", cause, format!("change the {party_type} instead")));
    }
    if !types.contains(&party_type) {
        return Err((
            "party_type",
            "no type of this name is registered".to_owned(),
            format!(
                "register it with PUT /api/v1/record-types/{{name}}, or use one of: {}",
                types.join(", ")
            ),
        ));
    }
    if name.chars().count() > 200 {
        return Err(("name", "the name is longer than 200 characters".to_owned(), "shorten it".to_owned()));
    }
    let Some(address) = address else {
        if removed {
            return Ok(Said::Gone { party_type, party_id });
        }
        return Err(("address", "the address is missing".to_owned(), "give `address`".to_owned()));
    };
    let address: EmailAddress = address.parse().map_err(|error: model::address::InvalidAddress| {
        let said = error.to_string();
        let (cause, remedy) = said.split_once("; ").unwrap_or((&said, "correct the address"));
        ("address", cause.to_owned(), remedy.to_owned())
    })?;
    let party = PartyAddress { address: address.as_str().to_owned(), party_type, party_id, name };
    Ok(if removed { Said::Lost(party) } else { Said::Has(party) })
}
