//! One request and its answer (HTTP/1.1, RFC 9112), over a connection of its own that ends with it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use url::Position;

use super::{Address, Error};
use crate::error::{Kind, Phase};
use crate::transport::{Connection, Settings};

/// The largest answer that is read. A token is a few kilobytes.
const LARGEST: usize = 128 * 1024;

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Posts a form.
pub(super) async fn post(address: &Address, settings: &Settings, form: &[u8]) -> Result<Answer, Error> {
    let endpoint = address.endpoint();
    let connection = Connection::open(&endpoint, settings).await?;
    let place = format!("{}:{}", endpoint.host, endpoint.port);
    let failed = |kind| Error::from(crate::Error::new(Phase::SignIn, kind).at(place.clone()));
    let host = match address.url().port() {
        Some(port) => format!("{}:{port}", endpoint.host),
        None => endpoint.host.clone(),
    };
    let request = Request::post(&address.url()[Position::BeforePath..Position::AfterQuery])
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(form)))
        .map_err(|_| Error::Unusable("its address cannot be said in HTTP"))?;
    let exchange = async {
        let io = TokioIo::new(connection.into_stream());
        let (mut sender, driver) =
            http1::Builder::new().handshake(io).await.map_err(|_| failed(Kind::Closed))?;
        let mut answer = pin!(async {
            let response = sender.send_request(request).await.map_err(|error| {
                failed(if error.is_parse() {
                    Kind::Violation("its answer is not HTTP")
                } else {
                    Kind::Closed
                })
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| {
                failed(if error.is::<LengthLimitError>() {
                    Kind::TooLarge("the answer")
                } else {
                    Kind::Closed
                })
            })?;
            let body = body.to_bytes();
            Ok(Answer { status: head.status.as_u16(), retry_after: retry_after(&head.headers), body })
        });
        tokio::select! {
            answer = &mut answer => answer,
            // A server that closes has said everything: what it said is still to be read.
            _ = driver => answer.await,
        }
    };
    tokio::time::timeout(settings.phase_deadline, exchange).await.map_err(|_| failed(Kind::TimedOut))?
}

/// In seconds; a date says nothing to somebody without a clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
