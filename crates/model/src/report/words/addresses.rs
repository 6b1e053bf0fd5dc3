//! Addresses in running text, with where they stand. Never those of header-like lines: a To of the copied message names
//! people whom nothing happened to.

use crate::address::normalize;

/// Fields that some reports repeat of the message, which say nothing about who failed.
const FIELDS: &[&str] = &[
    "to",
    "cc",
    "bcc",
    "from",
    "sender",
    "reply-to",
    "return-path",
    "subject",
    "sent",
    "date",
    "message-id",
    "references",
    "in-reply-to",
    "received",
    "x-original-to",
    "generating server",
    "an",
    "von",
    "betreff",
];

/// The addresses of a text in their normal form and order, each as often as it stands there.
pub(super) fn addresses(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let field = line.split_once(':').map(|(name, _)| name.trim().to_lowercase());
        if !field.is_some_and(|field| FIELDS.contains(&field.as_str())) {
            for (at, _) in line.match_indices('@') {
                if let Some((address, from)) = around(line, at) {
                    found.push((address, start + from));
                }
            }
        }
        start += line.len();
    }
    found
}

/// The address around an `@`, when there is one.
fn around(line: &str, at: usize) -> Option<(String, usize)> {
    let local = |c: char| c.is_alphanumeric() || "!#$%&*+-/=?^_`{|}~.'".contains(c);
    let domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let before = &line[..at];
    let from = before.char_indices().rev().take_while(|(_, c)| local(*c)).last().map(|(from, _)| from)?;
    let from = from + before[from..].len() - before[from..].trim_start_matches(['\'', '.', '/', '=']).len();
    let after = &line[at + 1..];
    let to = after.char_indices().take_while(|(_, c)| domain(*c)).last().map(|(to, c)| to + c.len_utf8())?;
    let host = after[..to].trim_end_matches(['.', '-', '_']);
    let address = normalize(&format!("{}@{host}", &before[from..]));
    let (user, _) = address.split_once('@')?;
    let daemon = ["mailer-daemon", "postmaster"].contains(&user);
    (!user.is_empty() && host.contains('.') && address.len() <= 320 && !daemon).then_some((address, from))
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn addresses_are_found_in_all_the_ways_that_reports_write_them() {
        for (text, found) in [
            ("<a@b.example>:", vec!["a@b.example"]),
            ("  'A.B@c.example' on 1/2/2020", vec!["a.b@c.example"]),
            ("rfc822;x+y@b.example.", vec!["x+y@b.example"]),
            ("RCPT TO:<a@b.example>: 550", vec!["a@b.example"]),
            ("To: a@b.example\nCc: c@d.example", vec![]),
            ("mail to postmaster@b.example or @b", vec![]),
            ("a@b.example (a@b.example)", vec!["a@b.example", "a@b.example"]),
            ("ü@b.example", vec!["ü@b.example"]),
        ] {
            let addresses: Vec<String> = addresses(text).into_iter().map(|(address, _)| address).collect();
            assert_eq!(addresses, found, "{text}");
        }
    }
}
