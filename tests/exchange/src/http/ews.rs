//! A request to Exchange Web Services, from its document to its answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::http::request::Parts;
use tokio::sync::mpsc;

use super::answer::{self, Answer};
use super::{Connection, auth, note};
use crate::call::Call;
use crate::fault::{self, Fault as Switch};
use crate::operation::{self, streaming};
use crate::sent_copy;
use crate::soap::{self, BUSY, Envelope, Fault, Refusal};
use crate::state::{Impersonates, State};
use crate::version::Version;
use crate::xml::Element;

pub(super) struct Asked<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) head: &'a Parts,
    pub(super) body: Bytes,
}

pub(super) async fn answer(asked: Asked<'_>) -> Result<Answer, io::Error> {
    let document = String::from_utf8_lossy(&asked.body).into_owned();
    let envelope = Envelope::parse(&document);
    let operation = envelope.as_ref().map_or("unreadable", |envelope| envelope.body.name.as_str()).to_owned();
    let number = note(&asked, &operation, 0);
    let status = |status: StatusCode| {
        if let Some(request) = asked.connection.lock().requests.get_mut(number) {
            request.status = status.as_u16();
        }
    };

    let login = match auth::sign_in(asked.connection, asked.head) {
        auth::SignedIn::As(login) => login,
        auth::SignedIn::Refused(refused) => {
            status(StatusCode::UNAUTHORIZED);
            return Ok(refused);
        }
    };
    let named = envelope
        .as_ref()
        .ok()
        .and_then(|envelope| envelope.impersonated.as_ref())
        .map_or(login.as_str(), |(_, name)| name.as_str())
        .to_owned();
    let faults = {
        let mut state = asked.connection.lock();
        sent_copy::settle(&mut state);
        if let Some(request) = state.requests.get_mut(number) {
            request.login.clone_from(&login);
            request.mailbox.clone_from(&named);
            if let Ok(envelope) = &envelope {
                request.impersonated = envelope.impersonated.is_some();
                request.version = envelope.version.clone().unwrap_or_default();
            }
        }
        fault::met(&mut state.rules, &operation, &[&login, &named])
    };
    asked.connection.used_for(&named);
    if faults.contains(&Switch::Unauthorized) {
        status(StatusCode::UNAUTHORIZED);
        return Ok(auth::refused(&asked.connection.lock()));
    }
    if let Some(broken) = answer::before(&faults).await {
        if let Ok(broken) = &broken {
            status(broken.status());
        }
        return broken;
    }
    let exceeded = {
        let state = asked.connection.lock();
        let now = state.connections_of.get(&named.to_lowercase()).map_or(0, |connections| connections.now);
        state.options.max_connections.is_some_and(|most| now > most)
    };
    let answered = match envelope {
        Ok(_) if exceeded => Err(Fault::of(
            "ErrorExceededConnectionCount",
            "You have exceeded the available concurrent connections for your account. Try again once your other \
             requests have completed.",
        )),
        Ok(envelope) => one(&asked, &login, &envelope, &faults),
        Err(fault) => Err(fault),
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(fault) => answer::xml(StatusCode::INTERNAL_SERVER_ERROR, fault.envelope()),
    };
    status(answer.status());
    answer::after(answer, &faults)
}

fn one(asked: &Asked<'_>, login: &str, envelope: &Envelope, faults: &[Switch]) -> Result<Answer, Fault> {
    let mut state = asked.connection.lock();
    let newest = state.options.version;
    for fault in faults {
        match fault {
            Switch::Busy(back_off) => return Err(Fault::busy(*back_off)),
            Switch::Refused(code) => {
                return Err(Fault::of(code, format!("The request was refused: {code}.")));
            }
            Switch::BusyMessage(back_off) => {
                let mut refusal = Refusal::of("ErrorServerBusy", BUSY);
                if let Some(back_off) = back_off {
                    refusal.values.push(("BackOffMilliseconds".to_owned(), back_off.as_millis().to_string()));
                }
                return Ok(all_refused(newest, &envelope.body, &refusal));
            }
            Switch::RefusedMessage(code) => {
                let refusal = Refusal::of(code, &format!("The request was refused: {code}."));
                return Ok(all_refused(newest, &envelope.body, &refusal));
            }
            _ => {}
        }
    }
    let version = newest.negotiate(envelope.version.as_deref())?;
    let streams = envelope.body.name == "GetStreamingEvents"
        || envelope.body.child("StreamingSubscriptionRequest").is_some();
    if streams && version < Version::Exchange2010Sp1 {
        return Err(Fault::schema("Streaming notifications are not in this version of the schema."));
    }
    let own = state.account(login).and_then(|account| account.mailbox);
    let acting = match &envelope.impersonated {
        None => own,
        Some(who) => Some(impersonated(&state, login, who)?),
    };
    let backend = backend(asked.head, state.options.backends, login, envelope);
    if envelope.body.name == "GetStreamingEvents" {
        let watch = streaming::Watch::parse(&envelope.body, backend)?;
        drop(state);
        return Ok(stream(asked, newest, watch));
    }
    let mut call = Call {
        state: &mut state,
        login: login.to_owned(),
        acting,
        impersonating: envelope.impersonated.is_some(),
        version,
        backend,
        faults,
        now: model::clock::now(),
    };
    let body = operation::answer(&mut call, &envelope.body)?;
    Ok(answer::xml(StatusCode::OK, soap::envelope(newest, body)))
}

/// The server that a request is led to: by its cookie, else to where the mailbox it names is at home.
fn backend(head: &Parts, backends: u32, login: &str, envelope: &Envelope) -> u32 {
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cookie = header("cookie").split(';').find_map(|cookie| {
        cookie.trim().strip_prefix(super::AFFINITY)?.rsplit('~').next()?.parse::<u32>().ok()
    });
    if let Some(backend) = cookie {
        return backend % backends.max(1);
    }
    let anchor = match (header("x-anchormailbox"), &envelope.impersonated) {
        ("", Some((_, name))) => name,
        ("", None) => login,
        (anchor, _) => anchor,
    };
    home(anchor, backends)
}

/// Where a mailbox is at home.
pub(super) fn home(mailbox: &str, backends: u32) -> u32 {
    crate::id::checksum(mailbox.to_lowercase().as_bytes()) % backends.max(1)
}

/// The mailbox of `ConnectingSID`, if the login may act for it.
fn impersonated(state: &State, login: &str, (kind, name): &(String, String)) -> Result<usize, Fault> {
    if !["PrincipalName", "PrimarySmtpAddress", "SmtpAddress"].contains(&kind.as_str()) {
        return Err(Fault::of("ErrorInvalidSid", "The security identifier (SID) is not known here."));
    }
    let nobody =
        || Fault::of("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.");
    let place = state.place_of(name).ok_or_else(nobody)?;
    let mailbox = &state.mailboxes[place];
    if kind == "PrimarySmtpAddress" && !mailbox.address.eq_ignore_ascii_case(name) {
        return Err(Fault::of(
            "ErrorNonPrimarySmtpAddress",
            format!(
                "The primary SMTP address must be specified when referencing a mailbox: {}",
                mailbox.address
            ),
        ));
    }
    let account = state.account(login);
    let may = account.is_some_and(|account| match &account.impersonates {
        Impersonates::Nobody => account.mailbox == Some(place),
        Impersonates::Everybody => true,
        Impersonates::Some(mailboxes) => mailboxes.contains(&mailbox.address.to_lowercase()),
    });
    if !may {
        return Err(Fault::of(
            "ErrorImpersonateUserDenied",
            "The account does not have permission to impersonate the requested user.",
        ));
    }
    if let Some((code, text)) = &mailbox.refuses {
        return Err(Fault::of(code, text));
    }
    Ok(place)
}

/// An answer whose every message says no, one for each thing that was asked for.
fn all_refused(version: Version, request: &Element, refusal: &Refusal) -> Answer {
    let lists =
        ["ItemIds", "FolderIds", "ParentFolderIds", "Items", "AttachmentIds", "ItemChanges", "Attachments"];
    let list = request.children.iter().find(|child| lists.contains(&child.name.as_str()));
    let count = list.map_or(1, |list| list.children.len().max(1));
    let empty = match request.name.as_str() {
        "SyncFolderItems" => {
            vec![Element::m("SyncState"), Element::m("IncludesLastItemInRange").saying(true)]
        }
        "SyncFolderHierarchy" => {
            vec![Element::m("SyncState"), Element::m("IncludesLastFolderInRange").saying(true)]
        }
        _ => Vec::new(),
    };
    let body = soap::answer(&request.name, vec![Err(refusal.clone()); count], &empty);
    answer::xml(StatusCode::OK, soap::envelope(version, body))
}

fn stream(asked: &Asked<'_>, version: Version, watch: streaming::Watch) -> Answer {
    let (out, mut envelopes) = mpsc::channel::<Bytes>(16);
    tokio::spawn(streaming::stream(Arc::clone(&asked.connection.state), version, watch, out));
    let parts = futures_util::stream::poll_fn(move |context| {
        envelopes.poll_recv(context).map(|envelope| envelope.map(Ok::<Bytes, io::Error>))
    });
    answer::with(StatusCode::OK, "text/xml; charset=utf-8", answer::parts(parts))
}
