//! The header of a message that leaves: what Exchange takes out, puts in and puts in place of what was there.

/// Puts each of `set` in place of the first header of its name, or before all others when there is none, and takes out
/// every header named in `without`. Everything else stays byte for byte.
pub(crate) fn rewrite(message: &[u8], set: &[(&str, String)], without: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 256);
    let mut pending: Vec<&(&str, String)> = set.iter().collect();
    let mut kept: Vec<u8> = Vec::new();
    let mut rest = message;
    loop {
        let (field, after) = field(rest);
        let Some(name) = name(field) else { break };
        rest = after;
        if without.iter().any(|one| one.eq_ignore_ascii_case(name)) {
            continue;
        }
        if let Some((known, value)) = set.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            if let Some(at) = pending.iter().position(|(one, _)| one == known) {
                pending.remove(at);
                kept.extend_from_slice(format!("{known}: {value}\r\n").as_bytes());
            }
            continue;
        }
        kept.extend_from_slice(field);
    }
    for (known, value) in pending {
        out.extend_from_slice(format!("{known}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(&kept);
    if !rest.starts_with(b"\r\n") && !rest.starts_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(rest);
    out
}

/// The first header with its continuation lines, and what follows.
fn field(text: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    loop {
        end = match text[end..].iter().position(|byte| *byte == b'\n') {
            Some(at) => end + at + 1,
            None => return text.split_at(text.len()),
        };
        if !matches!(text.get(end), Some(b' ' | b'\t')) {
            return text.split_at(end);
        }
    }
}

/// The name of a header, if it is one.
fn name(field: &[u8]) -> Option<&str> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&field[..colon]).ok()?.trim_end();
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_replaced_and_taken_out_and_the_rest_stays() {
        let message =
            b"Message-ID: <a@b>\r\nBcc: x@y,\r\n z@y\r\nSubject: Hi\r\n there\r\n\r\nBcc: no header\r\n";
        let set = [("Message-ID", "<c@d>".to_owned()), ("Date", "today".to_owned())];
        let out = rewrite(message, &set, &["bcc"]);
        let expected = "Date: today\r\nMessage-ID: <c@d>\r\nSubject: Hi\r\n there\r\n\r\nBcc: no header\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(rewrite(b"\r\nbody", &[], &[]), b"\r\nbody");
        assert_eq!(rewrite(b"no header at all", &[], &[]), b"\r\nno header at all");
    }
}
