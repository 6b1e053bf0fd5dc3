//! A subject without what answering and forwarding put before it; it must never touch the words of the writer.

/// What mail programs write for an answer or a forwarding, in lower case.
///
/// From the reply and forward strings of Outlook, Thunderbird, Apple Mail, Gmail and Notes in their languages:
/// English, German, Dutch, Danish/Norwegian/Swedish, Finnish, French, Spanish, Italian, Portuguese, Polish, Czech,
/// Hungarian, Romanian, Turkish, Indonesian, Welsh, Icelandic, Greek, Russian, Bulgarian, Ukrainian, Hebrew, Arabic,
/// Chinese, Japanese, Korean.
const PREFIXES: &[&str] = &[
    "re",
    "fw",
    "fwd",
    "aw",
    "wg",
    "antw",
    "antwort",
    "doorst",
    "sv",
    "vs",
    "vb",
    "vl",
    "vedr",
    "videresendt",
    "vidarebefordrat",
    "ref",
    "réf",
    "tr",
    "rép",
    "rép.",
    "rv",
    "res",
    "enc",
    "rif",
    "r",
    "i",
    "inoltra",
    "odp",
    "pd",
    "vá",
    "továbbítás",
    "red",
    "ynt",
    "yan",
    "ilt",
    "i̇lt",
    "bls",
    "trs",
    "atb",
    "yml",
    "fs",
    "α",
    "απ",
    "σχετ",
    "πρθ",
    "на",
    "отв",
    "ответ",
    "пересл",
    "fyi",
    "отг",
    "препр",
    "відп",
    "השב",
    "הועבר",
    "רה",
    "رد",
    "إعادة توجيه",
    "回复",
    "回覆",
    "答复",
    "转发",
    "轉寄",
    "转寄",
    "返信",
    "転送",
    "답장",
    "회신",
    "전달",
];

/// The longest prefix in characters, with its count; more is the writer's own word.
const LONGEST: usize = 24;

/// The subject without leading answer and forward marks, however many and in whatever language: `Re:`, `RE[2]:`,
/// `AW (3):`, `Fwd: SV:`, `回复：`. Surrounding space goes as well.
pub fn subject_without_prefixes(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some(after) = without_one(rest) {
        rest = after.trim_start();
    }
    rest
}

fn without_one(subject: &str) -> Option<&str> {
    let (at, colon) =
        subject.char_indices().take(LONGEST).find(|(_, letter)| matches!(letter, ':' | '：'))?;
    let mark = without_count(subject[..at].trim_end()).trim_end();
    let mark: String = mark.chars().flat_map(char::to_lowercase).collect();
    PREFIXES.contains(&mark.as_str()).then(|| &subject[at + colon.len_utf8()..])
}

/// `RE[2]`, `RE(2)`, `RE^2` and `RE2` are how some programs count answers.
fn without_count(mark: &str) -> &str {
    let digits = mark.trim_end_matches([']', ')']);
    let before = digits.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if before.len() == digits.len() {
        return mark;
    }
    before.trim_end_matches(['[', '(', '^'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_and_forward_marks_go_and_the_writers_words_stay() {
        for (subject, rest) in [
            ("Plan", "Plan"),
            ("Re: Plan", "Plan"),
            ("RE:Plan", "Plan"),
            ("re : Plan", "Plan"),
            ("Re: Re: RE: Plan", "Plan"),
            ("Fwd: Plan", "Plan"),
            ("FW: AW: WG: Plan", "Plan"),
            ("SV: VS: Plan", "Plan"),
            ("RE[2]: Plan", "Plan"),
            ("Re (12): Plan", "Plan"),
            ("Re^3: Plan", "Plan"),
            ("Re2: Plan", "Plan"),
            ("Antw: TR: RIF: Odp: YNT: Plan", "Plan"),
            ("İLT: Plan", "Plan"),
            ("ΑΠ: Plan", "Plan"),
            ("Ответ: Plan", "Plan"),
            ("回复：转发: 计划", "计划"),
            ("إعادة توجيه: خطة", "خطة"),
            ("  Re:   Plan  ", "Plan"),
            ("Re:", ""),
            ("", ""),
            ("Regarding: Plan", "Regarding: Plan"),
            ("Reply: no", "Reply: no"),
            ("Invoice 2024: paid", "Invoice 2024: paid"),
            ("2: Plan", "2: Plan"),
            ("[list] Re: Plan", "[list] Re: Plan"),
            ("Re Plan", "Re Plan"),
            ("Meeting 10:30", "Meeting 10:30"),
            (": Plan", ": Plan"),
        ] {
            assert_eq!(subject_without_prefixes(subject), rest, "{subject}");
        }
    }

    #[test]
    fn taking_prefixes_away_twice_changes_nothing_more() {
        for subject in ["Re: Fwd: a: b: Re: c", "AW: Re Re: x", "Re[9: x", "Re]: x", "R: I: robot"] {
            let once = subject_without_prefixes(subject);
            assert_eq!(subject_without_prefixes(once), once);
        }
    }

    #[test]
    fn a_million_prefixes_are_taken_one_by_one_without_recursion() {
        assert_eq!(subject_without_prefixes(&"Re: ".repeat(250_000)), "");
    }
}
