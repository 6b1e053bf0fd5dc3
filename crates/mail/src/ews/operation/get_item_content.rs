//! `GetItem` for the messages themselves: their MIME, one streamed or several at once, decoded as it arrives.
//!
//! A message larger than its cap is read on and thrown away, up to [`Limits::drain_bytes`](crate::ews::Limits), then the
//! session is given up: HTTP cannot stop in the middle of an answer.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/includemimecontent>

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::error::{Error, Kind, Phase};
use crate::ews::answer::{Answer, judged};
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::content::{Piece, Scanner};
use crate::ews::xml::Element;
use crate::ews::{ItemId, Session};
use crate::http::Reading;

/// What became of one message that was asked for.
#[derive(Debug)]
pub enum Fetched {
    /// All of it, exactly as the server gives it.
    Whole(Bytes),
    /// It is larger than the cap. Nothing of it is kept.
    TooLarge,
    /// The server would not give this message.
    Refused(Error),
}

impl Session {
    /// Asks for several messages at once. They come in the order of the ids; `max_bytes` bounds each.
    pub async fn get_items<'a>(
        &'a mut self,
        ids: &'a [ItemId],
        max_bytes: u64,
    ) -> Result<Fetching<'a>, Error> {
        let reading = self.begin_content(ids).await?;
        Ok(Fetching { stream: Stream::new(self, reading, max_bytes), ids, given: 0 })
    }

    /// Asks for one message as a stream, so that memory stays flat however large it is.
    pub async fn get_item(&mut self, id: &ItemId, max_bytes: u64) -> Result<Body<'_>, Error> {
        let reading = self.begin_content(std::slice::from_ref(id)).await?;
        Ok(Body { stream: Stream::new(self, reading, max_bytes), over: false })
    }

    async fn begin_content(&mut self, ids: &[ItemId]) -> Result<Option<Reading>, Error> {
        if ids.is_empty() {
            return Ok(None);
        }
        self.confirm(Phase::Fetch).await?;
        let body = request(ids);
        let until = self.soon();
        let (head, body) = self.say(Ask::reading(Phase::Fetch, "GetItem", &body), until).await?;
        if !head.status.is_success() {
            let answer = self.answer(Phase::Fetch, head, body, until).await?;
            let fault =
                answer.response().err().unwrap_or(Fault::Broken("its status is not that of an answer"));
            return Err(self.fault(Phase::Fetch, fault));
        }
        self.note(&head);
        let limits = self.limits();
        let until = Instant::now() + limits.message_deadline;
        self.busy = true;
        Ok(Some(Reading::new(body, until, self.settings.transport.phase_deadline, u64::MAX)))
    }
}

fn request(ids: &[ItemId]) -> String {
    format!(
        "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true\
         </t:IncludeMimeContent></m:ItemShape>{}</m:GetItem>",
        ItemId::list(ids)
    )
}

/// Messages on their way, in the order they were asked for. Dropping it before its end ends the session.
#[derive(Debug)]
pub struct Fetching<'a> {
    stream: Stream<'a>,
    ids: &'a [ItemId],
    given: usize,
}

impl<'a> Fetching<'a> {
    /// The next message with what became of it; `None` after the last. An error ends the session.
    pub async fn next(&mut self) -> Result<Option<(&'a ItemId, Fetched)>, Error> {
        let Some(id) = self.ids.get(self.given) else {
            self.stream.settle().await?;
            return Ok(None);
        };
        let mut message = BytesMut::new();
        let ended = loop {
            match self.stream.next().await? {
                Some(Part::Content(piece)) => message.extend_from_slice(&piece),
                Some(Part::TooMuch) => message = BytesMut::new(),
                Some(Part::End(ended)) => break ended,
                None => return Err(self.stream.lose(Kind::Violation("its answer lacks an item"))),
            }
        };
        self.given += 1;
        // The last one is complete only with what stands after it: the answer is read to its end at once.
        if self.given == self.ids.len() {
            self.stream.settle().await?;
        }
        let fetched = match ended {
            Ok(()) if self.stream.was_too_large() => Fetched::TooLarge,
            Ok(()) => Fetched::Whole(message.freeze()),
            Err(error) => Fetched::Refused(error),
        };
        Ok(Some((id, fetched)))
    }

    /// Whether more can be had over this session.
    pub fn is_usable(&self) -> bool {
        self.stream.session.lost.is_none()
    }
}

/// A message being streamed. Dropping it before its end ends the session.
#[derive(Debug)]
pub struct Body<'a> {
    stream: Stream<'a>,
    over: bool,
}

impl Body<'_> {
    /// The next piece of the message, `None` after the last. Past the cap it is [`Kind::TooLarge`]; a message that the server
    /// would not give is its refusal. Whether the session can go on then says [`Session::is_usable`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.over {
            match self.stream.next().await? {
                Some(Part::Content(piece)) => return Ok(Some(piece)),
                Some(Part::TooMuch) => {}
                Some(Part::End(ended)) => {
                    self.over = true;
                    self.stream.settle().await?;
                    ended?;
                    if self.stream.was_too_large() {
                        return Err(self.stream.session.error(Phase::Fetch, Kind::TooLarge("the message")));
                    }
                }
                None => return Err(self.stream.lose(Kind::Violation("its answer lacks an item"))),
            }
        }
        Ok(None)
    }
}

/// An answer being read.
#[derive(Debug)]
struct Stream<'a> {
    session: &'a mut Session,
    reading: Option<Reading>,
    scanner: Scanner,
    max_bytes: u64,
    /// Bytes of the message that is being read.
    taken: u64,
    /// The message read last was larger than its cap.
    too_large: bool,
    /// How much may still be thrown away.
    drain: u64,
}

enum Part {
    /// More of the message.
    Content(Bytes),
    /// It is larger than its cap: what came of it before is worth nothing.
    TooMuch,
    /// The message is over.
    End(Result<(), Error>),
}

impl<'a> Stream<'a> {
    fn new(session: &'a mut Session, reading: Option<Reading>, max_bytes: u64) -> Self {
        let drain = session.limits().drain_bytes;
        let scanner = Scanner::default();
        Self { session, reading, scanner, max_bytes, taken: 0, too_large: false, drain }
    }

    fn was_too_large(&self) -> bool {
        self.too_large
    }

    /// The next part of the answer; none after its last message.
    async fn next(&mut self) -> Result<Option<Part>, Error> {
        loop {
            match self.scanner.next() {
                Some(Piece::Content(piece)) => {
                    if self.taken == 0 {
                        self.too_large = false;
                    }
                    self.taken += piece.len() as u64;
                    if self.taken <= self.max_bytes {
                        return Ok(Some(Part::Content(piece)));
                    }
                    let Some(left) = self.drain.checked_sub(piece.len() as u64) else {
                        return Err(self.lose(Kind::TooLarge("a message")));
                    };
                    self.drain = left;
                    if !self.too_large {
                        self.too_large = true;
                        return Ok(Some(Part::TooMuch));
                    }
                }
                Some(Piece::End(message)) => {
                    if self.taken == 0 {
                        self.too_large = false;
                    }
                    self.taken = 0;
                    return Ok(Some(Part::End(self.judge(&message))));
                }
                None => match self.read().await? {
                    Some(bytes) => {
                        self.scanner.push(&bytes).map_err(|why| self.lose(Kind::Violation(why)))?;
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    fn judge(&self, message: &Element) -> Result<(), Error> {
        match judged(message) {
            Err(said) => Err(self.session.refusal(Phase::Fetch, &said)),
            Ok(message) if message.find("MimeContent").is_none() => {
                Err(self.session.error(Phase::Fetch, Kind::Violation("its answer has no content")))
            }
            Ok(_) => Ok(()),
        }
    }

    /// More of the answer; none at its end, which is judged once.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let (Some(reading), Some(channel)) = (&mut self.reading, &mut self.session.channel) else {
            return Ok(None);
        };
        match reading.piece(channel).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                self.reading = None;
                self.session.busy = false;
                let frame = self.scanner.frame().and_then(Answer::parse);
                let told = match &frame {
                    Ok(answer) => answer.response().map(drop),
                    Err(why) => Err(Fault::Broken(why)),
                };
                match told {
                    Ok(()) => Ok(None),
                    Err(fault) => Err(self.session.fault(Phase::Fetch, fault)),
                }
            }
            Err(kind) => Err(self.lose(kind)),
        }
    }

    /// Reads what stands after the messages, so that the next request finds the connection free.
    async fn settle(&mut self) -> Result<(), Error> {
        loop {
            if self.scanner.next().is_some() {
                return Err(self.lose(Kind::Violation("its answer has more items than were asked for")));
            }
            let Some(bytes) = self.read().await? else { return Ok(()) };
            self.scanner.push(&bytes).map_err(|why| self.lose(Kind::Violation(why)))?;
        }
    }

    fn lose(&mut self, kind: Kind) -> Error {
        self.reading = None;
        self.session.lose(Phase::Fetch, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_asked_for() {
        assert_eq!(
            request(&[ItemId::new("a"), ItemId::new("b")]),
            r#"<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape><m:ItemIds><t:ItemId Id="a"/><t:ItemId Id="b"/></m:ItemIds></m:GetItem>"#
        );
    }
}
