//! The phrases by which reports in plain words are known. Each is of a program that wrote it for decades.

/// Beginnings of subjects, in lower case.
const SUBJECTS: &[&str] = &[
    "undelivered mail returned to sender",
    "mail delivery failed",
    "mail delivery failure",
    "mail delivery problem",
    "mail failure",
    "delivery status notification",
    "delivery notification",
    "delivery failure",
    "delivery delayed",
    "delayed mail",
    "returned mail",
    "failure notice",
    "failed mail",
    "undeliverable",
    "undelivered mail",
    "nondeliverable mail",
    "non-delivery",
    "message not delivered",
    "warning: message ",
    "warning: could not send message",
    "mail system error",
    "mail delivery system",
    // MDaemon. Courier begins all of its reports with the same subject, those of success as well.
    "permanent delivery failure",
    // Exchange in other languages.
    "unzustellbar",
    "non remis",
    "no se puede entregar",
    "onbestelbaar",
    "non recapitabile",
    "não é possível entregar",
    "niedostarczalne",
];

/// What stands in texts, in lower case with single spaces.
const TEXTS: &[&str] = &[
    "this message was created automatically by mail delivery software",
    "this is the qmail-send program",
    "i wasn't able to deliver your message",
    "this is the mail system at host",
    "this is the mail delivery system at",
    "unable to deliver your message",
    "unable to deliver the following message",
    "your message could not be delivered",
    "message that you sent could not be delivered",
    "your message wasn't delivered",
    "your message was not delivered",
    "was not delivered to",
    "delivery has failed to these recipients",
    "did not reach the following recipient",
    "did not reach some or all of the intended recipients",
    "the following recipient(s) cannot be reached",
    "the following recipient(s) could not be reached",
    "delivery to the following recipient",
    "addresses had permanent fatal errors",
    "addresses had transient non-fatal errors",
    "the following address(es) failed",
    "the following addresses had delivery problems",
    "has not been delivered to one or more of its recipients",
    "has not yet been delivered to",
    "the message could not be delivered to",
    "could not be delivered to the following",
    // Courier.
    "your message to the following recipients cannot be delivered",
    "your message to the following recipients has been delayed",
    // Amazon SES.
    "an error occurred while trying to deliver the mail",
    // MDaemon.
    "permanent fatal delivery errors",
];

/// What stands in the texts of programs that nobody knows, and in other texts as well: it counts beside a server's code.
const FAILS: &[&str] = &[
    "not be delivered",
    "couldn't be delivered",
    "can't be delivered",
    "was undeliverable",
    "is undeliverable",
    "delivery failed",
    "delivery has failed",
    "failed to deliver",
    "unable to deliver",
];

/// What says that it is still tried.
const DELAYED: &[&str] = &[
    "warning message only",
    "transient non-fatal errors",
    "has been delayed",
    "has not yet been delivered",
    "is still trying to deliver",
    "will continue to be attempted",
    "attempts to deliver the message will continue",
    "will retry for",
    "will be retried",
    "will keep trying",
    "delivery delayed",
    "delivery status notification (delay)",
    "delayed mail",
    "(still being retried)",
    "you do not need to resend your message",
];

/// What parts the report from the copy of the message, as a line begins; in lower case.
const COPIES: &[&str] = &[
    "--- below this line is a copy of the message",
    "------ this is a copy of",
    "------ this is a copy",
    "----- original message -----",
    "--- original message",
    "-----original message",
    "----- message header follows",
    "----- unsent message follows",
    "   ----- original message follows",
    "--- the header of the original message is following",
    "--- attachment is a copy of the message",
    "--- undelivered message follows",
    "--- returned message follows",
    "original message headers:",
    "original message details",
    "message headers follow",
    "--- enclosed is a copy of the message",
];

/// Beginnings of subjects of automatic answers, which are no reports whatever they quote.
const ANSWERS: &[&str] = &[
    "automatic reply",
    "auto reply",
    "autoreply",
    "out of office",
    "automatische antwort",
    "abwesen",
    "re:",
    "aw:",
];

pub(super) fn subject(subject: &str) -> bool {
    let subject = subject.trim().to_lowercase();
    SUBJECTS.iter().any(|phrase| subject.starts_with(phrase))
}

pub(super) fn answers(subject: &str) -> bool {
    let subject = subject.trim().to_lowercase();
    ANSWERS.iter().any(|phrase| subject.starts_with(phrase))
}

pub(super) fn text(told: &str) -> bool {
    holds(&plain(told), TEXTS)
}

/// Whether a text says that something failed in words that others use as well.
pub(super) fn fails(told: &str) -> bool {
    holds(&plain(told), FAILS)
}

pub(super) fn delayed(subject: &str, told: &str) -> bool {
    let told = plain(told);
    // A report of the end tells of the delays before it.
    let over =
        holds(&told, &["permanent error", "permanently", "permanent fatal errors", "given up", "giving up"]);
    !over && (holds(&told, DELAYED) || holds(&plain(subject), DELAYED) || subject.starts_with("Warning:"))
}

fn holds(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase().replace('\u{2019}', "'")
}

/// The text before the copy of the message begins.
pub(super) fn before_the_copy(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = line.trim().to_lowercase();
        if COPIES.iter().any(|phrase| start.starts_with(phrase.trim_start())) {
            return &text[..at];
        }
        at += line.len();
    }
    text
}
