//! Where consent leads back to: a browser without a key. What proves that it belongs here is the state, which holds once.
//! Everything that comes with it is a stranger's word: it is shown escaped, and nothing of it is logged.

use axum::extract::State;
use axum::response::Response;
use mail::oauth::{Address, Application, Error, Grant, Verifier, WrongIssuer, check_issuer};
use model::id::OrganizationId;
use model::secret::Secret;
use serde::Deserialize;
use store::change::Author;
use store::oauth::{self, Given, NewTokens, OpenedApplication, Redeemed};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{Page, page};
use crate::app::App;
use crate::body::Query;

/// What is registered at the provider, after the public address.
pub(super) const PATH: &str = "/oauth/callback";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(callback))
}

/// What the provider sends the browser back with (RFC 6749 section 4.1.2).
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Answer {
    /// What the link carried.
    #[param(value_type = Option<String>)]
    state: Option<Secret>,
    /// What tokens are asked for with.
    #[param(value_type = Option<String>)]
    code: Option<Secret>,
    /// Which server it is from (RFC 9207).
    iss: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// The same in words.
    error_description: Option<String>,
}

/// Why a consent came to nothing.
enum Failed {
    /// What a person reads.
    Told(Page),
    /// Our own fault.
    Store(store::Error),
}

impl From<store::Error> for Failed {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Page> for Failed {
    fn from(page: Page) -> Self {
        Self::Told(page)
    }
}

/// Where consent leads back to: a page for the person who consented. It takes no key: the state is the proof.
#[utoipa::path(
    get, path = "/oauth/callback", tag = "profiles", security(()), params(Answer),
    responses((status = 200, description = "A page that says what came of it", content_type = "text/html"))
)]
async fn callback(State(app): State<App>, Query(answer): Query<Answer>) -> Response {
    match take(&app, answer).await {
        Ok(username) => page(&Page::done(&username)),
        Err(Failed::Told(told)) => page(&told),
        Err(Failed::Store(store::Error::Refused(refusal))) => {
            page(&Page::failed("The consent could not be stored", &refusal.to_string(), None))
        }
        Err(Failed::Store(error)) => {
            tracing::error!(%error, "a consent could not be stored");
            page(&Page::failed(
                "Lockstep cannot store the consent now",
                "Ask for a new link in a moment and open that one. If it goes on, tell whoever runs Lockstep.",
                None,
            ))
        }
    }
}

async fn take(app: &App, answer: Answer) -> Result<String, Failed> {
    let state = answer.state.ok_or_else(Page::unknown)?;
    let organization = oauth::organization(&state).ok_or_else(Page::unknown)?;
    // Used up first: whatever comes next, the link does not open twice.
    let tenant = app.store.tenant(organization).await?;
    let redeemed = oauth::redeem(&tenant, &app.keys, &state).await?.ok_or_else(Page::unknown)?;
    tenant.commit().await?;
    // Before anything of it is believed: a code of another server is shown to nobody.
    from_whom(&redeemed, answer.iss.as_deref())?;
    let Some(code) = answer.code else {
        let said =
            [answer.error, answer.error_description].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Err(Page::failed(
            "There is no consent",
            "If it was refused by mistake, ask for a new link and consent there. If the provider refused it, read its words \
             and have the application's registration corrected.",
            Some(said),
        )
        .into());
    };
    let tokens = exchange(app, &redeemed, &code).await?;
    store(app, organization, &redeemed, &tokens).await?;
    Ok(redeemed.username)
}

/// Refuses an answer that is not from the server that was asked (RFC 9207 section 2.4).
fn from_whom(redeemed: &Redeemed, said: Option<&str>) -> Result<(), Page> {
    let fields = &redeemed.application.fields;
    let authorize = fields.authorize_url.as_deref().and_then(|url| Address::parse(url).ok());
    // An address that is stored was read before; without one there is nobody to ask for a token either.
    let Ok(token) = Address::parse(&fields.token_url) else { return Ok(()) };
    check_issuer(said, fields.issuer.as_deref(), authorize.as_ref(), &token).map_err(|wrong| {
        let remedy = match (wrong, &fields.issuer) {
            (WrongIssuer::Missing, _) => {
                "It should, by the name that the application is stored with. Ask for a new link and open it without going \
                 elsewhere meanwhile. If it happens again, have an administrator take `issuer` out of the application: the \
                 provider says none."
            }
            (WrongIssuer::Another, Some(_)) => {
                "Nothing of it was used. Ask for a new link and open it without going elsewhere meanwhile. If it happens \
                 again, have an administrator correct `issuer` in the application: it must be what the provider calls itself, \
                 letter by letter."
            }
            (WrongIssuer::Another, None) => {
                "Nothing of it was used. Ask for a new link and open it without going elsewhere meanwhile. If it happens \
                 again, have an administrator store what the provider calls itself as the application's `issuer`; it is in \
                 the provider's metadata."
            }
        };
        let text = format!("The answer is not taken: {wrong}. {remedy}");
        Page::failed("The answer is from somebody else", &text, said.map(str::to_owned))
    })
}

async fn exchange(app: &App, redeemed: &Redeemed, code: &Secret) -> Result<NewTokens, Failed> {
    let verifier = Verifier::kept(redeemed.verifier.clone());
    let grant = Grant::Code { code, redirect: &redeemed.redirect, verifier: &verifier };
    let application = known(&redeemed.application).map_err(|error| trouble(&error))?;
    let given = app.tokens.token(&application, grant).await.map_err(|error| trouble(&error))?;
    if given.refresh.is_none() {
        return Err(Page::failed(
            "The provider gave no refresh token",
            "Without one the consent would end within hours. Have an administrator add what makes the provider give one to \
             the application: the scope `offline_access`, or `access_type=offline&prompt=consent` in the address where \
             people consent. Then ask for a new link.",
            None,
        )
        .into());
    }
    Ok(NewTokens {
        access: given.access,
        expires_in: given.expires_in,
        refresh: given.refresh,
        refresh_expires_in: given.refresh_expires_in,
    })
}

/// The token server's no, or its silence.
fn trouble(error: &Error) -> Failed {
    let said = match error {
        Error::Refused(refusal) => Some(refusal.said()),
        _ => None,
    };
    let cause = match error {
        Error::Refused(_) | Error::Narrow(_) => "It was asked for the tokens that the consent is for",
        _ => "It could not be asked for the tokens that the consent is for",
    };
    let remedy = format!("{cause}: {error}. Then ask for a new link; this one is used up.");
    Failed::Told(Page::failed("The provider gave no token", &remedy, said))
}

async fn store(
    app: &App,
    organization: OrganizationId,
    redeemed: &Redeemed,
    tokens: &NewTokens,
) -> Result<(), store::Error> {
    let by = Author::new(redeemed.asked_by, "consent");
    let given = Given { owner: redeemed.owner, username: &redeemed.username, tokens };
    let tenant = app.store.tenant(organization).await?;
    oauth::given(&tenant, &app.keys, &given, &by).await?;
    tenant.commit().await
}

/// An application as its token server is asked.
pub(super) fn known(application: &OpenedApplication) -> Result<Application, Error> {
    let fields = &application.fields;
    let address = Address::parse(&fields.token_url);
    Ok(Application {
        token_address: address.map_err(|_| Error::Unusable("it is no https address"))?,
        client_id: fields.client_id.clone(),
        client_secret: application.secret.clone(),
        scopes: fields.scopes.clone(),
        ca_certificate: application.ca_certificate.clone(),
    })
}
