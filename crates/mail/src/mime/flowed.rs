//! format=flowed (RFC 3676): the lines of a paragraph become one line again; quotes and fixed lines stay lines.

/// Unfolds a text whose lines end with LF. `delsp` says that the space a line flows on with is not of the text.
pub(crate) fn unfold(text: &str, delsp: bool) -> String {
    let mut unfolded = String::with_capacity(text.len());
    // The quote depth of the line that flows into the next.
    let mut flowing: Option<usize> = None;
    for (number, line) in text.split('\n').enumerate() {
        let depth = line.bytes().take_while(|byte| *byte == b'>').count();
        let content = &line[depth..];
        let content = content.strip_prefix(' ').unwrap_or(content);
        let signature = content == "-- ";
        // A paragraph goes on only at its own quote depth, and never into a signature (sections 4.3 and 4.5).
        let continues = flowing == Some(depth) && !signature;
        if !continues {
            if number > 0 {
                unfolded.push('\n');
            }
            if depth > 0 {
                unfolded.extend(std::iter::repeat_n('>', depth));
                unfolded.push(' ');
            }
        }
        let flows = content.ends_with(' ') && !signature;
        unfolded.push_str(if flows && delsp { &content[..content.len() - 1] } else { content });
        flowing = flows.then_some(depth);
    }
    unfolded
}

#[cfg(test)]
mod tests {
    use super::unfold;

    #[test]
    fn paragraphs_become_lines_and_everything_else_stays() {
        for (given, unfolded) in [
            ("one \ntwo\nthree", "one two\nthree"),
            ("one \ntwo \nthree\n\nfour\n", "one two three\n\nfour\n"),
            ("\n\none", "\n\none"),
            ("> quoted \n> text\n>> deeper\nanswer", "> quoted text\n>> deeper\nanswer"),
            ("> quoted \nanswer", "> quoted \nanswer"),
            ("end \n-- \nAda \nLovelace", "end \n-- \nAda Lovelace"),
            (" From stuffed\n >not a quote", "From stuffed\n>not a quote"),
            ("", ""),
        ] {
            assert_eq!(unfold(given, false), unfolded, "{given:?}");
        }
    }

    #[test]
    fn the_space_goes_where_the_sender_says_it_is_not_of_the_text() {
        assert_eq!(unfold("日本 \n語", true), "日本語");
        assert_eq!(unfold("日本 \n語", false), "日本 語");
    }
}
