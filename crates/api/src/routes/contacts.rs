//! Contacts: names with the addresses that mail resolves to.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::ContactId;
use serde::{Deserialize, Serialize};
use store::contact::{self, NewContact};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::owner::OwnerReference;
use crate::app::App;
use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::version::Versioned;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create))
}

/// A contact to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContact)]
struct ContactToMake {
    /// The name to show, 1 to 200 characters.
    name: String,
    /// The addresses.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    addresses: Vec<EmailAddress>,
    /// Whose contact it is.
    owner: Option<OwnerReference>,
    /// The host application's id.
    external_id: Option<String>,
}

/// Somebody the organization knows.
#[derive(Serialize, ToSchema)]
struct Contact {
    /// Which.
    id: Uuid,
    /// The name to show.
    name: String,
    /// The addresses in lower case, in alphabetical order.
    addresses: Vec<String>,
    /// Whose contact it is.
    owner: Option<OwnerReference>,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
}

impl From<contact::Contact> for Contact {
    fn from(contact: contact::Contact) -> Self {
        Self {
            id: contact.id.0,
            name: contact.name,
            addresses: contact.addresses,
            owner: contact.owner.map(OwnerReference::from),
            external_id: contact.external_id,
            version: contact.version,
            created_at: contact.created_at,
            modified_at: contact.modified_at,
        }
    }
}

/// Which contacts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ContactQuery {
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Make a contact.
#[utoipa::path(
    post, path = "/contacts", tag = "contacts", security(("key" = ["administer"])),
    request_body = ContactToMake, responses((status = 201, body = Contact))
)]
async fn create(
    caller: Caller,
    Json(new): Json<ContactToMake>,
) -> Result<(StatusCode, Versioned<Json<Contact>>), Problem> {
    let new = NewContact {
        name: new.name,
        addresses: new.addresses,
        owner: new.owner.map(Into::into),
        external_id: new.external_id,
    };
    let tenant = caller.begin().await?;
    let contact = contact::create(&tenant, &new, caller.author()).await?;
    tenant.commit().await?;
    Ok((StatusCode::CREATED, Versioned(contact.version, Json(contact.into()))))
}

/// All contacts, in the order they were made.
#[utoipa::path(
    get, path = "/contacts", tag = "contacts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(ContactQuery), responses((status = 200, body = Page<Contact>))
)]
async fn list(caller: Caller, Query(query): Query<ContactQuery>) -> Result<Json<Page<Contact>>, Problem> {
    let wanted = Wanted::<ContactId>::new("contacts", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let contacts = contact::list(&tenant, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(contacts, |contact| contact.id.to_string(), Contact::from)))
}
