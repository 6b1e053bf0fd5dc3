//! One document after the other out of an answer that does not end: each is handed out once it is whole.

use std::collections::VecDeque;

use super::lexer::{Lexer, Tag, Token};

/// The most that one of them may have.
const LARGEST: usize = 1024 * 1024;

/// Cuts an answer into documents.
#[derive(Debug, Default)]
pub(super) struct Envelopes {
    lexer: Lexer,
    /// How many elements are open.
    depth: usize,
    document: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
}

impl Envelopes {
    /// Takes more of the answer in.
    pub(super) fn push(&mut self, mut input: &[u8]) -> Result<(), &'static str> {
        while let Some(token) = self.lexer.next(&mut input)? {
            let (bytes, tag) = match token {
                Token::Text(text) => (text, Tag::Nothing),
                Token::Markup(markup) => (markup, Tag::of(markup)),
            };
            let is_end = match tag {
                Tag::Start(_) => {
                    self.depth += 1;
                    false
                }
                Tag::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or("its XML is not well formed")?;
                    self.depth == 0
                }
                Tag::Empty(_) => self.depth == 0,
                // Declarations, comments and blanks between two documents belong to none.
                Tag::Text(_) | Tag::Nothing if self.depth == 0 => continue,
                Tag::Text(_) | Tag::Nothing => false,
            };
            if self.document.len() + bytes.len() > LARGEST {
                return Err("what it tells at once is too much");
            }
            self.document.extend_from_slice(bytes);
            if is_end {
                self.whole.push_back(std::mem::take(&mut self.document));
            }
        }
        Ok(())
    }

    /// The next whole document.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(xml: &str, size: usize) -> Result<Vec<String>, &'static str> {
        let mut envelopes = Envelopes::default();
        let mut documents = Vec::new();
        for chunk in xml.as_bytes().chunks(size) {
            envelopes.push(chunk)?;
            while let Some(document) = envelopes.next() {
                documents.push(String::from_utf8(document).unwrap());
            }
        }
        Ok(documents)
    }

    #[test]
    fn documents_come_out_whole_however_they_came_in() {
        let xml =
            "<?xml version=\"1.0\"?><a><b>x</b></a>\r\n <!-- --><a c='>'/>text<a><![CDATA[</a>]]></a><a>";
        for size in [1, 3, 1000] {
            assert_eq!(
                documents(xml, size).unwrap(),
                ["<a><b>x</b></a>", "<a c='>'/>", "<a><![CDATA[</a>]]></a>"],
                "{size}"
            );
        }
    }

    #[test]
    fn one_that_does_not_end_is_refused() {
        let endless = format!("<a>{}", "<b></b>".repeat(LARGEST / 6));
        assert!(documents(&endless, 4096).is_err());
        assert!(documents("</a>", 4).is_err());
        assert!(documents("<!DOCTYPE a>", 4).is_err());
    }
}
