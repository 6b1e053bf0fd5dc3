//! The routes, one file per noun, with the shapes of its requests and answers beside them. Handlers only translate: what
//! may be done is the store's to say.

mod addresses;
mod alerts;
mod changes;
mod contacts;
mod deletion;
mod emails;
mod examination;
mod health;
mod jobs;
mod keys;
mod mailboxes;
mod me;
mod oauth;
mod owner;
mod presets;
mod profiles;
mod queues;
mod record_types;
mod schedules;
mod settings;
mod status;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// What is answered without a key, outside of the versioned paths.
pub(crate) fn open() -> OpenApiRouter<App> {
    health::routes().merge(oauth::open())
}

/// What stands under `/api/v1`.
pub(crate) fn all() -> OpenApiRouter<App> {
    health::document()
        .merge(me::routes())
        .merge(keys::routes())
        .merge(users::routes())
        .merge(queues::routes())
        .merge(profiles::routes())
        .merge(presets::routes())
        .merge(oauth::routes())
        .merge(mailboxes::routes())
        .merge(examination::routes())
        .merge(emails::routes())
        .merge(contacts::routes())
        .merge(deletion::routes())
        .merge(addresses::routes())
        .merge(record_types::routes())
        .merge(alerts::routes())
        .merge(jobs::routes())
        .merge(schedules::routes())
        .merge(settings::routes())
        .merge(status::routes())
        .merge(changes::routes())
}
