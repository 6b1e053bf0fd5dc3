//! The body of a request: whole, or fed piece by piece with its length known before. A fed body that ends early breaks the
//! connection off, so that no server takes a part for the whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body on its way out.
pub(crate) enum Sending {
    /// All of it, taken once it has left.
    Whole(Option<Bytes>),
    /// What a [`Feeder`] gives, this many bytes in all.
    Fed {
        /// Where the pieces come from.
        pieces: mpsc::Receiver<Bytes>,
        /// How many bytes are still to come.
        left: u64,
    },
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not as long as was said")]
pub(crate) struct OtherLength;

/// Gives a fed body its pieces.
#[derive(Debug)]
pub(crate) struct Feeder(mpsc::Sender<Bytes>);

impl Sending {
    /// A whole body.
    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Some(body.into()).filter(|body: &Bytes| !body.is_empty()))
    }

    /// A body of exactly `length` bytes, which the feeder gives.
    pub(crate) fn fed(length: u64) -> (Self, Feeder) {
        let (feeder, pieces) = mpsc::channel(1);
        (Self::Fed { pieces, left: length }, Feeder(feeder))
    }
}

impl Feeder {
    /// Hands a piece over once the one before it has left. False when the connection takes no more.
    pub(crate) async fn give(&self, piece: Bytes) -> bool {
        piece.is_empty() || self.0.send(piece).await.is_ok()
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = OtherLength;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OtherLength>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Fed { left: 0, .. } => Poll::Ready(None),
            Self::Fed { pieces, left } => Poll::Ready(Some(match ready!(pieces.poll_recv(context)) {
                Some(piece) if piece.len() as u64 <= *left => {
                    *left -= piece.len() as u64;
                    Ok(Frame::data(piece))
                }
                _ => Err(OtherLength),
            })),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Fed { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(body) => body.as_ref().map_or(0, |body| body.len() as u64),
            Self::Fed { left, .. } => *left,
        })
    }
}
