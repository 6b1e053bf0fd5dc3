//! Answers, whole ones and broken ones.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::Body;
use crate::fault::{self, Fault};

pub(super) type Answer = Response<Body>;

/// How many bytes an endless answer has in one chunk.
const CHUNK: usize = 16 * 1024;

/// An XML document, with the content type that strict clients want.
pub(super) fn xml(status: StatusCode, document: String) -> Answer {
    with(status, "text/xml; charset=utf-8", whole(document))
}

pub(super) fn plain(status: StatusCode, text: &str) -> Answer {
    with(status, "text/html; charset=utf-8", whole(format!("<html><body>{text}</body></html>")))
}

pub(super) fn with(status: StatusCode, kind: &str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    answer
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// A body of parts that come one after another; an error among them ends the connection.
pub(super) fn parts<S>(parts: S) -> Body
where
    S: futures_util::Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
{
    StreamBody::new(parts.map(|part| part.map(Frame::data))).boxed_unsync()
}

/// What is broken before anything is done: an answer, or an end. `None` when the request goes on.
pub(super) async fn before(faults: &[Fault]) -> Option<Result<Answer, io::Error>> {
    for fault in faults {
        match fault {
            Fault::Slow(time) => tokio::time::sleep(*time).await,
            Fault::DropBefore => return Some(Err(io::ErrorKind::ConnectionReset.into())),
            Fault::Status(status, retry_after) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                let mut answer = plain(status, "The service is unavailable.");
                if let Some(Ok(seconds)) = retry_after.map(|seconds| seconds.to_string().parse()) {
                    answer.headers_mut().insert(RETRY_AFTER, seconds);
                }
                return Some(Ok(answer));
            }
            Fault::EntityBomb => return Some(Ok(xml(StatusCode::OK, fault::entity_bomb()))),
            Fault::ExternalEntity => return Some(Ok(xml(StatusCode::OK, fault::EXTERNAL_ENTITY.to_owned()))),
            Fault::EndlessChunks => return Some(Ok(endless())),
            Fault::WebPage => return Some(Ok(plain(StatusCode::OK, "Please sign in to this network."))),
            _ => {}
        }
    }
    None
}

/// Breaks the answer of a request that was done.
pub(super) fn after(answer: Answer, faults: &[Fault]) -> Result<Answer, io::Error> {
    for fault in faults {
        match fault {
            Fault::DropAfter => return Err(io::ErrorKind::ConnectionReset.into()),
            Fault::DropMidway => return Ok(cut(answer, |text| text.len() as u64, true)),
            Fault::FalseLength(length) => {
                let length = *length;
                return Ok(cut(answer, move |_| length, false));
            }
            Fault::Truncated => return Ok(truncated(answer)),
            _ => {}
        }
    }
    Ok(answer)
}

/// The text of an answer that is whole. Those of this server are always ready.
fn text(answer: Answer) -> (hyper::http::response::Parts, Bytes) {
    let (head, body) = answer.into_parts();
    let bytes = futures_util::FutureExt::now_or_never(body.collect())
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    (head, bytes)
}

fn cut(answer: Answer, length: impl FnOnce(&Bytes) -> u64, midway: bool) -> Answer {
    let (mut head, bytes) = text(answer);
    let length = length(&bytes);
    if let Ok(length) = length.to_string().parse() {
        head.headers.insert(CONTENT_LENGTH, length);
    }
    let part = if midway { bytes.slice(..bytes.len() / 2) } else { bytes };
    let end = Err(io::ErrorKind::ConnectionReset.into());
    let ends = stream::once(async move {
        // What was said before leaves first.
        tokio::time::sleep(Duration::from_millis(50)).await;
        end
    });
    Response::from_parts(head, parts(stream::iter([Ok(part)]).chain(ends)))
}

fn truncated(answer: Answer) -> Answer {
    let (head, bytes) = text(answer);
    // In the middle of the last element's end.
    let part = bytes.slice(..bytes.len().saturating_sub(bytes.len() / 3).saturating_sub(1));
    Response::from_parts(head, Full::new(part).map_err(|never| match never {}).boxed_unsync())
}

fn endless() -> Answer {
    let begin = Bytes::from_static(
        b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\
          <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><x>",
    );
    let more = Bytes::from(vec![b'x'; CHUNK]);
    let chunks = stream::unfold(Some(begin), move |first| {
        let more = more.clone();
        async move {
            tokio::task::yield_now().await;
            Some((Ok(first.unwrap_or(more)), None))
        }
    });
    with(StatusCode::OK, "text/xml; charset=utf-8", parts(chunks))
}
