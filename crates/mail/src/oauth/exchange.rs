//! One request and its answer, over a connection of its own that ends with it.

use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use tokio::time::Instant;

use super::{Address, Error};
use crate::error::Phase;
use crate::http::{Channel, Reading, Sending, retry_after};
use crate::transport::Settings;

/// The largest answer that is read. A token is a few kilobytes.
const LARGEST: u64 = 128 * 1024;

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Posts a form.
pub(super) async fn post(address: &Address, settings: &Settings, form: &[u8]) -> Result<Answer, Error> {
    let endpoint = address.endpoint();
    let place = format!("{}:{}", endpoint.host, endpoint.port);
    let failed = |kind| Error::from(crate::Error::new(Phase::SignIn, kind).at(place.clone()));
    let request = Request::post(address.target())
        .header(HOST, address.authority())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONNECTION, "close")
        .body(Sending::whole(Bytes::copy_from_slice(form)))
        .map_err(|_| Error::Unusable("its address cannot be said in HTTP"))?;
    let mut channel = Channel::open(&endpoint, settings).await?;
    let until = Instant::now() + settings.phase_deadline;
    let answer = channel.send(request, until).await.map_err(|unanswered| failed(unanswered.kind))?;
    let (head, body) = answer.into_parts();
    let body = Reading::new(body, until, settings.phase_deadline, LARGEST);
    let body = body.whole(&mut channel).await.map_err(failed)?;
    Ok(Answer { status: head.status.as_u16(), retry_after: retry_after(&head.headers), body })
}
