//! Text as it is written out: white space collapsed, lines broken where blocks meet, quotes and lists marked.

use mail_parser::decoders::html::add_html_token;

/// Deeper quotes and lists are written as if they were this deep: nobody reads more, and a line stays a line.
const DEPTH: usize = 8;
/// Longer addresses are those of trackers; nobody reads them.
const LINK_BYTES: usize = 200;
/// The longest name of a character reference, and more.
const REFERENCE_BYTES: usize = 32;

/// Collects the text of one document.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: String,
    /// White space was read since the last letter.
    space: bool,
    /// Line ends due before the next letter: 1 ends a line, 2 leaves one empty.
    lines: usize,
    quotes: usize,
    preformatted: bool,
    /// The number of the last item of each open list; none counts bullets.
    lists: Vec<Option<usize>>,
    /// Where the open link leads, and where its words begin.
    link: Option<(String, usize)>,
}

impl Writer {
    /// Writes text between tags, its character references not yet decoded.
    pub(super) fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find('&') {
            self.letters(&rest[..at]);
            rest = &rest[at..];
            let reference = rest
                .bytes()
                .take(REFERENCE_BYTES)
                .skip(1)
                .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'#')
                .map(|length| length + 2)
                .filter(|end| *end > 2 && rest.as_bytes()[end - 1] == b';');
            if let Some(end) = reference {
                let mut decoded = String::new();
                add_html_token(&mut decoded, &rest.as_bytes()[..end], false);
                self.letters(&decoded);
                rest = &rest[end..];
            } else {
                self.letters("&");
                rest = &rest[1..];
            }
        }
        self.letters(rest);
    }

    fn letters(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '\n' if self.preformatted => self.lines += 1,
                ' ' if self.preformatted => self.letter(letter),
                // Soft hyphens and joiners of nothing, with which newsletters fill their preview line.
                '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{feff}' => {}
                _ if letter.is_whitespace() => self.space = true,
                _ if letter.is_control() => {}
                _ => self.letter(letter),
            }
        }
    }

    fn letter(&mut self, letter: char) {
        if self.out.is_empty() {
            self.lines = 0;
            self.begin_line();
        } else if self.lines > 0 {
            self.out.extend(std::iter::repeat_n('\n', std::mem::take(&mut self.lines)));
            self.begin_line();
        } else if self.space && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
        self.space = false;
        self.out.push(letter);
    }

    fn begin_line(&mut self) {
        self.out.push_str(&"> ".repeat(self.quotes.min(DEPTH)));
    }

    /// Ends the line, and with 2 leaves an empty one, however often it is asked for.
    pub(super) fn lines(&mut self, lines: usize) {
        self.lines = self.lines.max(lines);
        self.space = false;
    }

    /// Ends the line once more, up to two empty ones.
    pub(super) fn line_break(&mut self) {
        self.lines = (self.lines + 1).min(3);
        self.space = false;
    }

    pub(super) fn space(&mut self) {
        self.space = true;
    }

    pub(super) fn rule(&mut self) {
        self.lines(2);
        "----".chars().for_each(|letter| self.letter(letter));
        self.lines(2);
    }

    pub(super) fn preformatted(&mut self, begins: bool) {
        self.lines(2);
        self.preformatted = begins;
    }

    pub(super) fn quote(&mut self, begins: bool) {
        self.lines(2);
        self.quotes = if begins { self.quotes + 1 } else { self.quotes.saturating_sub(1) };
    }

    pub(super) fn begin_list(&mut self, numbered: bool) {
        self.lines(if self.lists.is_empty() { 2 } else { 1 });
        if self.lists.len() < DEPTH {
            self.lists.push(numbered.then_some(0));
        }
    }

    pub(super) fn end_list(&mut self) {
        self.lists.pop();
        self.lines(if self.lists.is_empty() { 2 } else { 1 });
    }

    pub(super) fn item(&mut self) {
        self.lines(1);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{number}.")
            }
            _ => "*".to_owned(),
        };
        mark.chars().for_each(|letter| self.letter(letter));
        self.out.push(' ');
    }

    pub(super) fn begin_link(&mut self, address: &str) {
        self.end_link();
        let web = ["http://", "https://"].iter().any(|scheme| {
            address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        if web && address.len() <= LINK_BYTES {
            let mut decoded = Self::default();
            decoded.text(address);
            self.link = Some((decoded.finish(), self.out.len()));
        }
    }

    /// Writes where a link leads behind its words: what it hides is what a reader of text must see.
    pub(super) fn end_link(&mut self) {
        let Some((address, from)) = self.link.take() else { return };
        let words = self.out.get(from..).unwrap_or_default();
        if words.trim().is_empty() || words.contains(address.trim_end_matches('/')) {
            return;
        }
        self.lines = 0;
        self.space = true;
        format!("<{address}>").chars().for_each(|letter| self.letter(letter));
    }

    pub(super) fn finish(mut self) -> String {
        self.end_link();
        let lines: Vec<&str> = self.out.lines().map(str::trim_end).collect();
        lines.join("\n")
    }
}
