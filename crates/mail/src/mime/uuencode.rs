//! Files that stand within a text as it was done before MIME: uuencoded blocks become files, yEnc is only noticed. What is
//! not well formed stays text: nothing that a person wrote may disappear from it.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

/// A file that stood in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its name as it was given, not yet fit to be shown.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// What became of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files in their order.
    pub(crate) blocks: Vec<Block>,
    /// Something begins like a block and is none, or there were more than may be taken out.
    pub(crate) left: bool,
    /// A file in yEnc stands in it.
    pub(crate) yenc: bool,
}

/// Takes at most `most` blocks out of a text, with their lines (POSIX `uuencode`, the historical algorithm). One pass; no
/// line is looked at more than twice.
pub(crate) fn take_out(text: &[u8], most: usize) -> (Cow<'_, [u8]>, Found) {
    let mut found = Found::default();
    // Both kinds say so with the same word; most texts have it nowhere.
    if memmem::find(text, b"begin ").is_none() {
        return (Cow::Borrowed(text), found);
    }
    let mut cut: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = line_end(text, at);
        let line = text[at..end].trim_ascii_end();
        found.yenc |= is_yenc(line);
        let Some(name) = begins(line) else {
            at = end;
            continue;
        };
        match block(text, end) {
            (Some(bytes), after) if found.blocks.len() < most => {
                found.blocks.push(Block { name, bytes });
                cut.push(at..after);
                at = after;
            }
            // Words of a person may begin like a block; only one that has lines of one is worth a note.
            (_, after) => {
                found.left |= after > end;
                at = after.max(end);
            }
        }
    }
    if cut.is_empty() {
        return (Cow::Borrowed(text), found);
    }
    let mut rest = Vec::with_capacity(text.len());
    let mut from = 0;
    for range in cut {
        rest.extend_from_slice(&text[from..range.start]);
        from = range.end;
    }
    rest.extend_from_slice(&text[from..]);
    (Cow::Owned(rest), found)
}

fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| at + length + 1)
}

/// The name in a line such as `begin 644 cat.txt`.
fn begins(line: &[u8]) -> Option<String> {
    let rest = line.strip_prefix(b"begin ")?;
    let digits = rest.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let name = rest.get(digits..)?.strip_prefix(b" ")?.trim_ascii();
    let fit = (3..=4).contains(&digits) && !name.is_empty() && !name.iter().any(u8::is_ascii_control);
    fit.then(|| String::from_utf8_lossy(name).into_owned())
}

/// The bytes of a block whose lines begin at `from`, when it is well formed, and where what belongs to it ends.
fn block(text: &[u8], from: usize) -> (Option<Vec<u8>>, usize) {
    let mut bytes = Vec::new();
    let (mut at, mut ended) = (from, false);
    while at < text.len() {
        let end = line_end(text, at);
        let line = text[at..end].strip_suffix(b"\n").unwrap_or(&text[at..end]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii_end() == b"end" {
            return ((!bytes.is_empty()).then_some(bytes), end);
        }
        // The line of no bytes, whose space many programs cut off.
        if matches!(line.trim_ascii_end(), b"" | b"`") && !bytes.is_empty() && !ended {
            ended = true;
        } else if ended || !decode(line, &mut bytes) {
            return (None, at);
        }
        at = end;
    }
    (None, at)
}

/// Decodes one line; says whether it is one. Spaces at its end may have been cut off, and one character may follow, which
/// some programs use as a checksum.
fn decode(line: &[u8], bytes: &mut Vec<u8>) -> bool {
    let Some((&length, data)) = line.split_first() else { return false };
    let count = usize::from(length.wrapping_sub(b' '));
    let wanted = count.div_ceil(3) * 4;
    if !(1..=45).contains(&count)
        || data.len() > wanted + 1
        || data.is_empty()
        || !data.iter().all(|byte| (b' '..=b'`').contains(byte))
    {
        return false;
    }
    let six = |at: usize| data.get(at).map_or(0, |byte| (byte - b' ') & 0x3f);
    let start = bytes.len();
    for group in (0..wanted).step_by(4) {
        let [a, b, c, d] = [six(group), six(group + 1), six(group + 2), six(group + 3)];
        bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    bytes.truncate(start + count);
    true
}

/// The first line of a file in yEnc (its draft 1.3, section "header and trailer lines").
fn is_yenc(line: &[u8]) -> bool {
    let has = |word: &[u8]| line.windows(word.len()).any(|window| window == word);
    line.starts_with(b"=ybegin ") && has(b" line=") && has(b" size=") && has(b" name=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> (String, Vec<(String, String)>, bool) {
        let (rest, found) = take_out(text.as_bytes(), 10);
        let blocks = found.blocks.into_iter();
        let blocks = blocks.map(|block| (block.name, String::from_utf8(block.bytes).unwrap())).collect();
        (String::from_utf8(rest.into_owned()).unwrap(), blocks, found.left)
    }

    fn cat(name: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), "Cat".to_owned())]
    }

    #[test]
    fn a_block_that_is_well_formed_becomes_a_file_and_leaves_the_text() {
        for (text, rest) in [
            ("a\nbegin 644 c.txt\n#0V%T\n`\nend\nb\n", "a\nb\n"),
            ("begin 0644 c.txt\r\n#0V%T\r\n \r\nend\r\n", ""),
            ("begin 666 c.txt\n#0V%T\n\nend", ""),
            ("begin 644 c.txt\n#0V%Tx\n`\nend\n", "begin 644 c.txt\n#0V%Tx\n`\nend\n"),
            ("begin 644 c.txt\n#0V%TX\n`\nend\n", ""),
            ("begin 644 c.txt\n#0V%T\nend\n", ""),
        ] {
            let (left, blocks, _) = taken(text);
            assert_eq!(left, rest, "{text}");
            assert_eq!(blocks, if left == text { Vec::new() } else { cat("c.txt") }, "{text}");
        }
        let (rest, blocks, _) = taken("begin 644 a\n#0V%T\n`\nend\nbegin 644 b c\n#0V%T\n`\nend\n");
        assert_eq!((rest.as_str(), blocks), ("", [cat("a"), cat("b c")].concat()));
    }

    #[test]
    fn what_is_no_block_stays_text() {
        for (text, noted) in [
            ("begin 644 reasons why\nfirst, this is a sentence of somebody\n", false),
            ("begin 644 c.txt\n#0V%T\n", true),
            ("begin 644 c.txt\n#0V%T\n`\n`\nend\n", true),
            ("begin 644 c.txt\n`\nend\n", false),
            ("begin 64 c.txt\n#0V%T\n`\nend\n", false),
            ("begin 648 c.txt\n#0V%T\n`\nend\n", false),
            ("begin 644 \n#0V%T\n`\nend\n", false),
            ("> begin 644 c.txt\n#0V%T\n`\nend\n", false),
            ("begin 644 c.txt\n#0V%T\nend of the story\nend\n", true),
        ] {
            assert_eq!(taken(text), (text.to_owned(), Vec::new(), noted), "{text}");
        }
    }

    #[test]
    fn more_blocks_than_are_allowed_stay_text() {
        let text = "begin 644 a\n#0V%T\n`\nend\n".repeat(3);
        let (rest, found) = take_out(text.as_bytes(), 2);
        assert_eq!((rest.len(), found.blocks.len(), found.left), (text.len() / 3, 2, true));
    }

    #[test]
    fn yenc_is_noticed_and_left() {
        let text = "=ybegin line=128 size=3 name=x.bin\nr\n=yend size=3\n";
        assert!(take_out(text.as_bytes(), 9).1.yenc);
        assert!(!take_out(b"=ybegin is how yEnc begins\n", 9).1.yenc);
    }
}
