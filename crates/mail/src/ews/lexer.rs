//! Markup told from text while an answer is still arriving, for answers too large or too long to be read whole. It hands
//! out text in the pieces that came and keeps nothing but one tag.
//!
//! It must never let a document type through, nor markup that has no end.

/// The longest tag or comment.
const LONGEST: usize = 256 * 1024;

/// Cuts bytes into text and markup, wherever they were cut before.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    /// The markup since its `<`, when some has begun.
    markup: Vec<u8>,
    complete: bool,
    quote: Option<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Some text, with its references as they were written. More of it may follow.
    Text(&'a [u8]),
    /// A whole tag, comment, instruction or CDATA section.
    Markup(&'a [u8]),
}

/// What a piece of markup is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    /// A start tag, with its local name.
    Start(&'a str),
    /// A tag that is start and end.
    Empty(&'a str),
    /// An end tag.
    End(&'a str),
    /// What a CDATA section holds.
    Text(&'a [u8]),
    /// A comment or an instruction.
    Nothing,
}

impl Lexer {
    /// Takes the next token from the input; none when the input is used up.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Token<'a>>, &'static str> {
        if self.complete {
            self.markup.clear();
            self.complete = false;
        }
        if self.markup.is_empty() {
            let end = memchr::memchr(b'<', input).unwrap_or(input.len());
            if end > 0 {
                let (text, rest) = input.split_at(end);
                *input = rest;
                return Ok(Some(Token::Text(text)));
            }
        }
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.markup.push(*byte);
            if self.ends_with(*byte)? {
                self.complete = true;
                return Ok(Some(Token::Markup(&self.markup)));
            }
            if self.markup.len() > LONGEST {
                return Err("its XML has a tag that is too long");
            }
        }
        Ok(None)
    }

    /// Whether the markup is whole with this byte at its end.
    fn ends_with(&mut self, byte: u8) -> Result<bool, &'static str> {
        let markup = self.markup.as_slice();
        Ok(match markup {
            [b'<', b'!', b'-', b'-', ..] => markup.len() >= 7 && markup.ends_with(b"-->"),
            [b'<', b'!', b'[', ..] => markup.ends_with(b"]]>"),
            [b'<', b'!'] | [b'<', b'!', b'-'] => false,
            [b'<', b'!', ..] => return Err("its XML declares a document type, which is not read"),
            [b'<', b'?', ..] => markup.len() >= 4 && markup.ends_with(b"?>"),
            _ => {
                match self.quote {
                    Some(quote) if quote == byte => self.quote = None,
                    None if matches!(byte, b'"' | b'\'') => self.quote = Some(byte),
                    _ => {}
                }
                byte == b'>' && self.quote.is_none()
            }
        })
    }
}

impl<'a> Tag<'a> {
    /// Tells what a piece of markup is.
    pub(super) fn of(markup: &'a [u8]) -> Self {
        let inside = markup.get(1..markup.len().saturating_sub(1)).unwrap_or_default();
        match inside {
            [b'!', b'[', ..] => Self::Text(
                inside
                    .strip_prefix(b"![CDATA[".as_slice())
                    .and_then(|inside| inside.strip_suffix(b"]]".as_slice()))
                    .unwrap_or_default(),
            ),
            [b'!' | b'?', ..] => Self::Nothing,
            [b'/', name @ ..] => Self::End(name_of(name)),
            [name @ .., b'/'] => Self::Empty(name_of(name)),
            name => Self::Start(name_of(name)),
        }
    }
}

fn name_of(tag: &[u8]) -> &str {
    let end = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
    super::xml::local(std::str::from_utf8(&tag[..end]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(xml: &[u8], cuts: &[usize]) -> Result<Vec<String>, &'static str> {
        let (mut lexer, mut tokens, mut rest) = (Lexer::default(), Vec::<String>::new(), xml);
        let mut text_before = false;
        for cut in cuts.iter().copied().chain([xml.len()]) {
            let (mut input, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            while let Some(token) = lexer.next(&mut input)? {
                match token {
                    Token::Text(text) => {
                        let text = String::from_utf8_lossy(text);
                        match tokens.last_mut().filter(|_| text_before) {
                            Some(last) => last.push_str(&text),
                            None => tokens.push(text.into_owned()),
                        }
                        text_before = true;
                    }
                    Token::Markup(markup) => {
                        tokens.push(String::from_utf8_lossy(markup).into_owned());
                        text_before = false;
                    }
                }
            }
        }
        Ok(tokens)
    }

    #[test]
    fn text_and_markup_are_told_apart_wherever_they_are_cut() {
        let xml =
            br#"<?xml version="1.0"?> <a b="x>y" c='"'>one<!-- <b> -- > --><![CDATA[<c>]] ]]>&amp;<d/></a>"#;
        let expected = [
            r#"<?xml version="1.0"?>"#,
            " ",
            r#"<a b="x>y" c='"'>"#,
            "one",
            "<!-- <b> -- > -->",
            "<![CDATA[<c>]] ]]>",
            "&amp;",
            "<d/>",
            "</a>",
        ];
        assert_eq!(tokens(xml, &[]).unwrap(), expected);
        assert_eq!(tokens(xml, &vec![1; xml.len()]).unwrap(), expected);
    }

    #[test]
    fn markup_is_known_by_what_it_begins_with() {
        for (markup, tag) in [
            ("<t:MimeContent CharacterSet=\"UTF-8\">", Tag::Start("MimeContent")),
            ("<MimeContent\n/>", Tag::Empty("MimeContent")),
            ("</q:MimeContent >", Tag::End("MimeContent")),
            ("<![CDATA[a]b]]>", Tag::Text(b"a]b")),
            ("<!---->", Tag::Nothing),
            ("<?x?>", Tag::Nothing),
        ] {
            assert_eq!(Tag::of(markup.as_bytes()), tag, "{markup}");
        }
    }

    #[test]
    fn a_document_type_and_endless_markup_are_refused() {
        assert!(tokens(b"<!DOCTYPE a>", &[]).is_err());
        assert!(tokens(b"<!ENTITY", &[3]).is_err());
        for endless in ["<a ", "<!--", "<![CDATA[", "<?x", "<a b=\""] {
            let xml = format!("{endless}{}", "x".repeat(LONGEST + 1));
            assert_eq!(tokens(xml.as_bytes(), &[]), Err("its XML has a tag that is too long"), "{endless}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(
            xml in "(<[a-c/!?\\- \"']{0,6}>|[a-z&;\\]]{0,5}|<!--x-->|<!\\[CDATA\\[y\\]\\]>){0,20}",
            cuts in proptest::collection::vec(0_usize..9, 0..40),
        ) {
            let whole = tokens(xml.as_bytes(), &[]);
            prop_assert_eq!(&tokens(xml.as_bytes(), &cuts), &whole);
            if let Ok(tokens) = whole {
                prop_assert!(xml.starts_with(&tokens.concat()));
            }
        }

        #[test]
        fn no_bytes_make_it_fail(xml in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = tokens(&xml, &[]);
            let _ = Tag::of(&xml);
        }
    }
}
