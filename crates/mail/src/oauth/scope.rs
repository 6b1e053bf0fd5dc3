//! What was granted beside what was asked for (RFC 6749 section 3.3): a narrower scope is told at once, and not by a mail
//! server's refusal some day.

/// What people are asked for beside their mail, and what many servers do not repeat: who somebody is, and a refresh token,
/// which is seen by its being there.
const BESIDE: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// The scopes that were asked for and not granted. `granted` is none where the server says nothing, which means all of them
/// (RFC 6749 section 5.1). A scope that stands for whatever the application may do (`…/.default`) is granted by any.
pub(super) fn missing(asked: &str, granted: Option<&str>) -> Vec<String> {
    let granted: Vec<&str> =
        granted.unwrap_or_default().split([' ', ',']).filter(|s| !s.is_empty()).collect();
    if granted.is_empty() {
        return Vec::new();
    }
    let has = |scope: &str| granted.iter().any(|granted| granted.eq_ignore_ascii_case(scope));
    asked
        .split_ascii_whitespace()
        .filter(|scope| !BESIDE.contains(scope) && !scope.ends_with("/.default") && !has(scope))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_granted_is_named_and_nothing_else() {
        let microsoft = "offline_access https://outlook.office.com/POP.AccessAsUser.All https://outlook.office.com/SMTP.Send";
        for (asked, granted, expected) in [
            ("mail", None, &[][..]),
            ("mail", Some("mail"), &[]),
            ("mail", Some(""), &[]),
            ("mail", Some("openid"), &["mail"]),
            ("openid offline_access mail", Some("mail"), &[]),
            ("mail send", Some("send mail other"), &[]),
            ("mail send", Some("mail"), &["send"]),
            // Not a part of a word.
            ("mail", Some("mail-readonly"), &["mail"]),
            (
                microsoft,
                Some("https://outlook.office.com/SMTP.Send"),
                &["https://outlook.office.com/POP.AccessAsUser.All"],
            ),
            // In another case and order, and with commas, as it is seen in the wild.
            (
                microsoft,
                Some("https://outlook.office.com/smtp.send,https://outlook.office.com/POP.AccessAsUser.All"),
                &[],
            ),
            (
                "https://outlook.office365.com/.default",
                Some("https://outlook.office365.com/POP.AccessAsApp"),
                &[],
            ),
        ] {
            assert_eq!(missing(asked, granted), expected, "{asked} by {granted:?}");
        }
    }
}
