//! Contacts: names with the addresses that mail resolves to.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::ContactId;
use serde::{Deserialize, Serialize};
use store::Called;
use store::contact::{self, ContactUpdate, NewContact};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::owner::{OwnerReference, same_external_id};
use crate::app::App;
use crate::body::{Given, Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, remove))
        .routes(routes!(upsert))
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
    /// With this name, whatever its case.
    name: Option<String>,
    /// With this address, whatever its case.
    address: Option<String>,
    /// With this id of the host application.
    external_id: Option<String>,
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

/// What to change of a contact; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ContactChange {
    /// The name to show, 1 to 200 characters.
    name: Option<String>,
    /// All addresses from now on.
    #[schema(value_type = Option<Vec<String>>)]
    addresses: Option<Vec<EmailAddress>>,
    /// Whose contact it is; null for nobody's.
    #[serde(default)]
    #[schema(value_type = Option<OwnerReference>)]
    owner: Given<OwnerReference>,
}

fn answer(contact: contact::Contact) -> Versioned<Json<Contact>> {
    Versioned(contact.version, Json(contact.into()))
}

/// One contact.
#[utoipa::path(
    get, path = "/contacts/{id}", tag = "contacts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(("id" = Uuid, Path, description = "The contact")), responses((status = 200, body = Contact))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Contact>>, Problem> {
    let tenant = caller.begin().await?;
    let contact = contact::get(&tenant, ContactId(id)).await?.ok_or_else(|| Problem::not_found("contact"))?;
    tenant.commit().await?;
    Ok(answer(contact))
}

/// Change a contact.
#[utoipa::path(
    patch, path = "/contacts/{id}", tag = "contacts", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The contact"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = ContactChange, responses((status = 200, body = Contact))
)]
async fn update(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<ContactChange>,
) -> Result<Versioned<Json<Contact>>, Problem> {
    let owner = match change.owner {
        Given::LeftOut => None,
        Given::Null => Some(None),
        Given::Value(owner) => Some(Some(owner.into())),
    };
    let change = ContactUpdate { name: change.name, addresses: change.addresses, owner };
    let tenant = caller.begin().await?;
    let contact = contact::update(&tenant, ContactId(id), version, &change, caller.author()).await?;
    tenant.commit().await?;
    Ok(answer(contact))
}

/// Remove a contact; emails keep the address as it was written.
#[utoipa::path(
    delete, path = "/contacts/{id}", tag = "contacts", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The contact"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Removed"))
)]
async fn remove(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    contact::delete(&tenant, ContactId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make the contact with this external id so, or make one: what a host application says of its contacts, over and over.
#[utoipa::path(
    put, path = "/contacts/by-external-id/{external_id}", tag = "contacts", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("the host application's record is the one that counts"))),
    params(("external_id" = String, Path, description = "The host application's id")),
    request_body = ContactToMake,
    responses((status = 200, body = Contact), (status = 201, description = "It is new", body = Contact))
)]
async fn upsert(
    caller: Caller,
    Path(external_id): Path<String>,
    Json(new): Json<ContactToMake>,
) -> Result<(StatusCode, Versioned<Json<Contact>>), Problem> {
    same_external_id(&external_id, new.external_id.as_ref())?;
    let new = NewContact {
        name: new.name,
        addresses: new.addresses,
        owner: new.owner.map(Into::into),
        external_id: None,
    };
    let tenant = caller.begin().await?;
    let (contact, is_new) = contact::upsert(&tenant, &external_id, &new, caller.author()).await?;
    tenant.commit().await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, answer(contact)))
}

/// All contacts, in the order they were made.
#[utoipa::path(
    get, path = "/contacts", tag = "contacts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(ContactQuery), responses((status = 200, body = Page<Contact>))
)]
async fn list(caller: Caller, Query(query): Query<ContactQuery>) -> Result<Json<Page<Contact>>, Problem> {
    let wanted = Wanted::<ContactId>::new("contacts", query.limit, query.cursor.as_deref())?;
    let narrowed = Called { name: query.name, address: query.address, external_id: query.external_id };
    let tenant = caller.begin().await?;
    let contacts = contact::list(&tenant, &narrowed, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(contacts, |contact| contact.id.to_string(), Contact::from)))
}
