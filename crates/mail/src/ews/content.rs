//! Messages out of an answer that is still arriving: their MIME is decoded as it comes and given away at once, and what
//! stands around it is kept, since that is small or else refused.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};

use super::lexer::{Lexer, Tag, Token};
use super::xml::Element;

/// The most that may stand around one message, and around all of them.
const AROUND: usize = 1024 * 1024;

/// Some servers pad and some do not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The next bytes of the message.
    Content(Bytes),
    /// The message is over: its response message, without the content.
    End(Element),
}

/// Takes an answer apart.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    lexer: Lexer,
    place: Place,
    /// The response message so far, without its content.
    message: Vec<u8>,
    /// Everything outside of response messages.
    frame: Vec<u8>,
    decoder: Decoder,
    pieces: VecDeque<Piece>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    /// Outside of response messages.
    #[default]
    Frame,
    /// In the response message that ends with this name.
    Message(String),
    /// In its content.
    Content(String),
}

impl Scanner {
    /// Takes more of the answer in.
    pub(super) fn push(&mut self, mut input: &[u8]) -> Result<(), &'static str> {
        let mut content = BytesMut::new();
        // Moved out, since what it gives borrows from it.
        let mut lexer = std::mem::take(&mut self.lexer);
        while let Some(token) = lexer.next(&mut input)? {
            match token {
                Token::Text(text) if matches!(self.place, Place::Content(_)) => {
                    self.decoder.push(text, &mut content)?;
                }
                Token::Text(text) => self.keep(text)?,
                Token::Markup(markup) => self.markup(markup, &mut content)?,
            }
        }
        self.lexer = lexer;
        self.give(&mut content);
        Ok(())
    }

    /// The next piece of what was taken in.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// Everything outside of response messages, once the answer is over.
    pub(super) fn frame(&self) -> Result<&[u8], &'static str> {
        if self.place == Place::Frame { Ok(&self.frame) } else { Err("its XML ends too early") }
    }

    fn markup(&mut self, markup: &[u8], content: &mut BytesMut) -> Result<(), &'static str> {
        let tag = Tag::of(markup);
        match (&mut self.place, &tag) {
            (Place::Content(_), Tag::Text(text)) => self.decoder.push(text, content)?,
            (Place::Content(_), Tag::Nothing) => {}
            (Place::Content(name), Tag::End("MimeContent")) => {
                let name = std::mem::take(name);
                self.decoder.finish(content)?;
                self.give(content);
                self.place = Place::Message(name);
                self.keep(markup)?;
            }
            (Place::Content(_), _) => return Err("its XML has elements inside a message's content"),
            (Place::Message(name), Tag::Start("MimeContent")) => {
                self.place = Place::Content(std::mem::take(name));
                self.keep(markup)?;
            }
            (Place::Message(name), Tag::End(end)) if name == end => {
                self.keep(markup)?;
                self.end()?;
            }
            (Place::Frame, Tag::Start(name)) if name.ends_with("ResponseMessage") => {
                self.place = Place::Message((*name).to_owned());
                self.keep(markup)?;
            }
            (Place::Frame, Tag::Empty(name)) if name.ends_with("ResponseMessage") => {
                self.place = Place::Message(String::new());
                self.keep(markup)?;
                self.end()?;
            }
            _ => self.keep(markup)?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), &'static str> {
        let message = std::mem::take(&mut self.message);
        self.pieces.push_back(Piece::End(Element::parse(&message)?));
        self.place = Place::Frame;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let kept = if self.place == Place::Frame { &mut self.frame } else { &mut self.message };
        if kept.len() + bytes.len() > AROUND {
            return Err("its answer has too much around the messages");
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn give(&mut self, content: &mut BytesMut) {
        if !content.is_empty() {
            self.pieces.push_back(Piece::Content(content.split().freeze()));
        }
    }
}

/// Base64 (RFC 4648 section 4) in pieces cut anywhere, with any blanks between.
#[derive(Debug, Default)]
struct Decoder {
    /// What is not decoded yet: less than four characters between two pieces.
    pending: Vec<u8>,
    padded: bool,
    /// Inside a reference to a character, which can only be a line end here.
    reference: bool,
}

impl Decoder {
    fn push(&mut self, text: &[u8], content: &mut BytesMut) -> Result<(), &'static str> {
        // Nearly always there is nothing in between.
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        if !self.padded && !self.reference && text.iter().all(is_plain) {
            self.pending.extend_from_slice(text);
            return self.decode(self.pending.len() / 4 * 4, content);
        }
        for byte in text {
            match byte {
                b'&' => self.reference = true,
                b';' if self.reference => self.reference = false,
                _ if self.reference || byte.is_ascii_whitespace() => {}
                b'=' => self.padded = true,
                _ if self.padded => return Err("a message's base64 goes on after its end"),
                byte => self.pending.push(*byte),
            }
        }
        self.decode(self.pending.len() / 4 * 4, content)
    }

    fn finish(&mut self, content: &mut BytesMut) -> Result<(), &'static str> {
        self.decode(self.pending.len(), content)?;
        *self = Self::default();
        Ok(())
    }

    fn decode(&mut self, length: usize, content: &mut BytesMut) -> Result<(), &'static str> {
        let before = content.len();
        content.resize(before + length.div_ceil(4) * 3, 0);
        let decoded = LENIENT
            .decode_slice(&self.pending[..length], &mut content[before..])
            .map_err(|_| "a message's base64 is broken")?;
        content.truncate(before + decoded);
        self.pending.drain(..length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::ews::answer::{Answer, judged};

    type Messages = Vec<(Vec<u8>, Element)>;

    fn scanned(xml: &[u8], cuts: &[usize]) -> Result<(Messages, Vec<u8>), &'static str> {
        let (mut scanner, mut messages, mut content) = (Scanner::default(), Vec::new(), Vec::new());
        let mut rest = xml;
        for cut in cuts.iter().copied().chain([xml.len()]) {
            let (input, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            scanner.push(input)?;
            while let Some(piece) = scanner.next() {
                match piece {
                    Piece::Content(piece) => content.extend_from_slice(&piece),
                    Piece::End(message) => messages.push((std::mem::take(&mut content), message)),
                }
            }
        }
        Ok((messages, scanner.frame()?.to_vec()))
    }

    fn answer(inside: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:ServerVersionInfo MajorVersion="15"/></s:Header><s:Body><m:GetItemResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>{inside}</m:ResponseMessages></m:GetItemResponse></s:Body></s:Envelope>"#
        )
    }

    fn message(base64: &str) -> String {
        format!(
            r#"<m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">{base64}</t:MimeContent><t:ItemId Id="a" ChangeKey="b"/></t:Message></m:Items></m:GetItemResponseMessage>"#
        )
    }

    #[test]
    fn messages_come_out_and_what_is_around_them_is_an_answer() {
        let refused = r#"<m:GetItemResponseMessage ResponseClass="Error"><m:MessageText>gone</m:MessageText><m:ResponseCode>ErrorItemNotFound</m:ResponseCode><m:Items/></m:GetItemResponseMessage>"#;
        let xml = answer(&format!("{}{refused}{}", message("SGVsbG8="), message("")));
        for cuts in [vec![], vec![1; xml.len()], vec![7; xml.len()]] {
            let (messages, frame) = scanned(xml.as_bytes(), &cuts).unwrap();
            assert_eq!(messages.len(), 3);
            assert_eq!(messages[0].0, b"Hello");
            let item = messages[0].1.find("ItemId").unwrap();
            assert_eq!(item.attribute("Id"), Some("a"));
            assert_eq!(judged(&messages[1].1).unwrap_err().code, "ErrorItemNotFound");
            assert!(messages[2].0.is_empty() && judged(&messages[2].1).is_ok());
            let frame = Answer::parse(&frame).unwrap();
            assert_eq!(frame.server.unwrap().major, 15);
            assert!(frame.response().is_ok());
        }
    }

    #[test]
    fn base64_is_read_as_servers_write_it() {
        for (base64, expected) in [
            ("SGVsbG8=", &b"Hello"[..]),
            ("SGVsbG8", b"Hello"),
            ("SGVs\r\nbG8=\r\n", b"Hello"),
            ("SGVs&#xD;\nbG8=", b"Hello"),
            ("<![CDATA[SGVs]]><!-- x -->bG8=", b"Hello"),
            ("", b""),
            ("SGVsbG9=", b"Hello"),
        ] {
            let (messages, _) = scanned(answer(&message(base64)).as_bytes(), &[]).unwrap();
            assert_eq!(messages[0].0, expected, "{base64}");
        }
        for base64 in ["SGVsbG8=SGVs", "S", "SG-_", "SGVs<t:b/>bG8=", "SGVsbG8=<x>"] {
            assert!(scanned(answer(&message(base64)).as_bytes(), &[]).is_err(), "{base64}");
        }
    }

    #[test]
    fn what_ends_too_early_or_has_too_much_around_it_is_refused() {
        let xml = answer(&message("SGVsbG8="));
        let inside = xml.find("SGVs").unwrap();
        assert!(scanned(&xml.as_bytes()[..inside + 2], &[]).is_err());
        let much = answer(&message("").replace("NoError", &"x".repeat(AROUND)));
        assert_eq!(scanned(much.as_bytes(), &[]).err(), Some("its answer has too much around the messages"));
        let bomb = format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{xml}");
        assert!(scanned(bomb.as_bytes(), &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_fail(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "<m:GetItemResponseMessage>", "</m:GetItemResponseMessage>", "<m:GetItemResponseMessage/>",
                    "<MimeContent>", "</MimeContent>", "<MimeContent/>", "QUJD", "=", "&#13;", "&", "<![CDATA[QU]]>",
                    "<!-- -->", "<?x?>", "<a b='>'>", "</a>", "</>", "<>", "<", ">", "]]>",
                ]),
                0..30,
            ),
            cuts in proptest::collection::vec(0_usize..12, 0..40),
        ) {
            let xml = pieces.concat();
            let whole = scanned(xml.as_bytes(), &[]).map(|(messages, frame)| (messages.len(), frame));
            let cut = scanned(xml.as_bytes(), &cuts).map(|(messages, frame)| (messages.len(), frame));
            prop_assert_eq!(whole.is_ok(), cut.is_ok());
            if let (Ok(whole), Ok(cut)) = (whole, cut) {
                prop_assert_eq!(whole, cut);
            }
        }

        #[test]
        fn any_message_comes_out_exactly_however_it_is_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0_usize..40, 0..60),
        ) {
            let xml = answer(&message(&BASE64_STANDARD.encode(&bytes)));
            let (messages, _) = scanned(xml.as_bytes(), &cuts).unwrap();
            prop_assert_eq!(&messages[0].0, &bytes);
        }
    }
}
