//! One question to one server: first without credentials, and with them only when it asks for them by 401 and takes the
//! scheme that is allowed.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use model::endpoint::{Endpoint, Protocol};
use model::secret::ExposeSecret as _;
use tokio::time::Instant;
use url::Url;

use super::{Credentials, PLAIN, Settings, Told, broken, joined};
use crate::error::{Busy, Error, Kind, Phase};
use crate::ews::ntlm::{self, Account, Shaken};
use crate::ews::sign_in::{HANDSHAKES, basic, offers};
use crate::http::{Address, Channel, Reading, Sending, retry_after};
use crate::sasl::{self, Proof};

/// The largest answer that is read. Exchange says some ten kilobytes.
const LARGEST: u64 = 512 * 1024;

/// What came back.
pub(super) struct Answer {
    head: Parts,
    body: Bytes,
    base: Url,
}

/// Asks. Nothing but the question is said to a server that does not ask who wants to know.
pub(super) async fn post(
    address: &Address,
    body: String,
    settings: &Settings,
    credentials: Credentials<'_>,
) -> Result<Answer, Error> {
    let body = Bytes::from(body);
    let failed = |kind| Error::new(Phase::Discover, kind).at(address.authority());
    let mut channel = Channel::open(&address.endpoint(), &settings.transport).await?;
    let answer = said(&mut channel, address, body.clone(), None, settings).await.map_err(failed)?;
    if answer.head.status != StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    if !channel.is_open() {
        channel = Channel::open(&address.endpoint(), &settings.transport).await?;
    }
    let field = proof(&mut channel, address, &answer.head.headers, settings, credentials).await?;
    let answer = said(&mut channel, address, body, Some(field), settings).await.map_err(failed)?;
    if answer.head.status == StatusCode::UNAUTHORIZED {
        return Err(Error::new(Phase::SignIn, Kind::CredentialsRefused).at(address.authority()));
    }
    Ok(answer)
}

/// What is said of who asks, in a way that is allowed and offered: rather one that does not tell the password.
async fn proof(
    channel: &mut Channel,
    address: &Address,
    offered: &HeaderMap,
    settings: &Settings,
    credentials: Credentials<'_>,
) -> Result<HeaderValue, Error> {
    let failed = |kind| Error::new(Phase::SignIn, kind).at(address.authority());
    let unspeakable = || failed(Kind::Unspeakable("the credentials cannot be said in HTTP"));
    let password = match credentials.proof {
        Proof::Token(token) => {
            sasl::speakable("token", token)?;
            if !offers(offered, "Bearer") {
                return Err(failed(Kind::Unsupported("OAuth 2.0 (Bearer authentication)")));
            }
            let field = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            return Ok(sensitive(field.map_err(|_| unspeakable())?));
        }
        Proof::Password(password) => password,
    };
    let handshake = HANDSHAKES.into_iter().find(|scheme| settings.schemes.ntlm && offers(offered, scheme));
    if let Some(scheme) = handshake {
        let account = Account::new(credentials.login, password);
        let until = Instant::now() + settings.transport.phase_deadline;
        match ntlm::shake_hands(channel, address, &account, scheme, until).await.map_err(failed)? {
            Shaken::Proof(field) => return Ok(field),
            Shaken::Unchallenged(_) => {}
        }
    }
    if settings.schemes.basic && offers(offered, "Basic") {
        let field = HeaderValue::from_str(&basic(credentials.login, password));
        return Ok(sensitive(field.map_err(|_| unspeakable())?));
    }
    Err(failed(Kind::Unsupported("a way to say the password that is allowed")))
}

fn sensitive(mut field: HeaderValue) -> HeaderValue {
    field.set_sensitive(true);
    field
}

async fn said(
    channel: &mut Channel,
    address: &Address,
    body: Bytes,
    authorization: Option<HeaderValue>,
    settings: &Settings,
) -> Result<Answer, Kind> {
    let patience = settings.transport.phase_deadline;
    let until = Instant::now() + patience;
    let mut request = Request::post(address.target())
        .header(HOST, address.authority())
        .header(USER_AGENT, concat!("Lockstep/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "text/xml")
        .header(CONTENT_TYPE, "text/xml; charset=utf-8");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request
        .body(Sending::whole(body))
        .map_err(|_| Kind::Unspeakable("the address cannot be said in HTTP"))?;
    let answer = channel.send(request, until).await.map_err(|unanswered| unanswered.kind)?;
    let (head, body) = answer.into_parts();
    let body = Reading::new(body, until, patience, LARGEST).whole(channel).await?;
    Ok(Answer { head, body, base: address.url().clone() })
}

impl Answer {
    /// What it says. None where it is no answer to the question: no such page.
    pub(super) fn told(self, read: impl FnOnce(&[u8]) -> Result<Told, Error>) -> Result<Option<Told>, Error> {
        let place = self.base.host_str().unwrap_or_default().to_owned();
        let failed = |kind| {
            let error = Error::new(Phase::Discover, kind).at(place.clone());
            match retry_after(&self.head.headers) {
                Some(pause) => error.with_retry_after(pause),
                None => error,
            }
        };
        match self.head.status {
            status if status.is_success() => read(&self.body).map(Some).map_err(|error| error.at(place)),
            status if status.is_redirection() => {
                let location = self.head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
                let url = location.and_then(|location| joined(&self.base, location));
                url.map(|url| Some(Told::Url(url)))
                    .ok_or_else(|| broken("it leads elsewhere, and does not say where"))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(failed(Kind::Throttled(Busy::Server))),
            StatusCode::SERVICE_UNAVAILABLE if retry_after(&self.head.headers).is_some() => {
                Err(failed(Kind::Throttled(Busy::Server)))
            }
            status if status.is_server_error() => Err(failed(Kind::Unavailable)),
            _ => Ok(None),
        }
    }
}

/// Where a server without TLS leads. Nothing is said to it but the path, and nothing of its answer is read but where it
/// leads.
pub(super) async fn led(host: &str, port: u16, settings: &Settings) -> Result<Option<String>, Error> {
    let endpoint = Endpoint { protocol: Protocol::Https, host: host.to_owned(), port, tls: PLAIN };
    let failed = |kind| Error::new(Phase::Discover, kind).at(format!("{host}:{port}"));
    let mut channel = Channel::open(&endpoint, &settings.transport).await?;
    let until = Instant::now() + settings.transport.phase_deadline;
    let authority = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
    let request = Request::get("/autodiscover/autodiscover.xml")
        .header(HOST, authority)
        .header(USER_AGENT, concat!("Lockstep/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Sending::Whole(None))
        .map_err(|_| failed(Kind::Unspeakable("the address cannot be said in HTTP")))?;
    let answer = channel.send(request, until).await.map_err(|unanswered| failed(unanswered.kind))?;
    if !answer.status().is_redirection() {
        return Ok(None);
    }
    Ok(answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned))
}
