//! The large providers: where their servers are and how their users sign in. Data, with the pages it was read from; what
//! somebody gives passes over it. Providers move: check the page before you trust a row.

use crate::endpoint::Tls;

/// A provider that many mailboxes are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What it is asked for by.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Where mail is read (POP3): host, port, TLS.
    pub incoming: (&'static str, u16, Tls),
    /// Where mail is submitted (SMTP): host, port, TLS.
    pub outgoing: (&'static str, u16, Tls),
    /// How an application gets tokens there; none where passwords made for one application are the way in.
    pub oauth: Option<OAuth>,
    /// What one must know first.
    pub notes: &'static str,
}

/// How an application gets tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// Where people consent; what the provider wants to give a refresh token is in its query. Every link has a challenge
    /// (PKCE, S256) in it; a server that knows none ignores it (RFC 6749 section 3.1).
    pub authorize_url: &'static str,
    /// Where tokens are given out.
    pub token_url: &'static str,
    /// For reading and sending by a person's consent, separated by spaces.
    pub scopes: &'static str,
    /// For an application's own tokens, where the provider has them; `{tenant}` in addresses is then the directory's.
    pub application_scopes: Option<&'static str>,
}

/// Every preset there is.
pub const PRESETS: &[Preset] = &[
    // https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
    // https://support.microsoft.com/office/pop-imap-and-smtp-settings-for-outlook-com-d088b986-291d-42b8-9564-9c414e2aa040
    Preset {
        name: "microsoft365",
        title: "Microsoft 365",
        incoming: ("outlook.office365.com", 995, Tls::Implicit),
        outgoing: ("smtp.office365.com", 587, Tls::StartTls),
        oauth: Some(OAuth {
            authorize_url: "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize",
            token_url: "https://login.microsoftonline.com/organizations/oauth2/v2.0/token",
            scopes: "offline_access https://outlook.office.com/POP.AccessAsUser.All https://outlook.office.com/SMTP.Send",
            application_scopes: Some("https://outlook.office365.com/.default"),
        }),
        notes: "Register an application in Entra ID with the callback address as a web redirect, and switch POP and \
                authenticated SMTP on for the mailboxes. Passwords are not taken any more. For an application's own \
                tokens (client credentials) put your directory's id in place of `organizations`, and register the \
                application's service principal in Exchange Online.",
    },
    // The same page, for personal accounts.
    Preset {
        name: "outlook",
        title: "Outlook.com",
        incoming: ("outlook.office365.com", 995, Tls::Implicit),
        outgoing: ("smtp-mail.outlook.com", 587, Tls::StartTls),
        oauth: Some(OAuth {
            authorize_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/authorize",
            token_url: "https://login.microsoftonline.com/consumers/oauth2/v2.0/token",
            scopes: "offline_access https://outlook.office.com/POP.AccessAsUser.All https://outlook.office.com/SMTP.Send",
            application_scopes: None,
        }),
        notes: "Personal accounts: POP has to be switched on in the mailbox's own settings first.",
    },
    // https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
    // https://developers.google.com/identity/protocols/oauth2/web-server (access_type, prompt)
    // https://support.google.com/mail/answer/7104828
    Preset {
        name: "google",
        title: "Gmail and Google Workspace",
        incoming: ("pop.gmail.com", 995, Tls::Implicit),
        outgoing: ("smtp.gmail.com", 465, Tls::Implicit),
        oauth: Some(OAuth {
            authorize_url: "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
            token_url: "https://oauth2.googleapis.com/token",
            scopes: "https://mail.google.com/",
            application_scopes: None,
        }),
        notes: "Make an OAuth client of the type `Web application` in the Google Cloud console with the callback address. \
                While its consent screen is in testing, refresh tokens end after seven days. POP has to be switched on in \
                the mailbox's own settings.",
    },
    // https://developer.yahoo.com/oauth2/guide/flows_authcode/
    // https://senders.yahooinc.com/developer/documentation/ (scopes for mail are given on request)
    // https://help.yahoo.com/kb/SLN4724.html
    Preset {
        name: "yahoo",
        title: "Yahoo Mail",
        incoming: ("pop.mail.yahoo.com", 995, Tls::Implicit),
        outgoing: ("smtp.mail.yahoo.com", 465, Tls::Implicit),
        oauth: Some(OAuth {
            authorize_url: "https://api.login.yahoo.com/oauth2/request_auth",
            token_url: "https://api.login.yahoo.com/oauth2/get_token",
            scopes: "mail-w",
            application_scopes: None,
        }),
        notes: "Yahoo gives the scope for mail to applications that asked for it; until then an app password works.",
    },
    // https://www.fastmail.com/for-developers/oauth/
    // https://www.fastmail.help/hc/en-us/articles/1500000278342-Server-names-and-ports
    Preset {
        name: "fastmail",
        title: "Fastmail",
        incoming: ("pop.fastmail.com", 995, Tls::Implicit),
        outgoing: ("smtp.fastmail.com", 465, Tls::Implicit),
        oauth: Some(OAuth {
            authorize_url: "https://api.fastmail.com/oauth/authorize",
            token_url: "https://api.fastmail.com/oauth/refresh",
            scopes: "https://www.fastmail.com/dev/protocol-pop https://www.fastmail.com/dev/protocol-smtp offline_access",
            application_scopes: None,
        }),
        notes: "Applications are registered with Fastmail on request; until then an app password works.",
    },
    // https://support.apple.com/102525: iCloud Mail has no POP; https://www.zoho.com/mail/help/pop-access.html
    Preset {
        name: "zoho",
        title: "Zoho Mail",
        incoming: ("pop.zoho.com", 995, Tls::Implicit),
        outgoing: ("smtp.zoho.com", 465, Tls::Implicit),
        oauth: None,
        notes: "An app password is the way in where two-step sign-in is on. Accounts in other regions have other hosts, \
                such as pop.zoho.eu.",
    },
    // https://hilfe.gmx.net/pop-imap/pop3/index.html
    Preset {
        name: "gmx",
        title: "GMX",
        incoming: ("pop.gmx.net", 995, Tls::Implicit),
        outgoing: ("mail.gmx.net", 465, Tls::Implicit),
        oauth: None,
        notes: "POP3 has to be switched on in the mailbox's own settings; with two-step sign-in an app password is wanted.",
    },
];

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The names, for people.
pub fn names() -> String {
    PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_whole_and_keeps_its_secrets_private() {
        for preset in PRESETS {
            assert_eq!(find(preset.name), Some(preset), "{} is there twice", preset.name);
            assert!(preset.notes.ends_with('.'), "{}", preset.name);
            for (host, port, tls) in [preset.incoming, preset.outgoing] {
                assert!(host.contains('.') && host == host.to_lowercase(), "{host}");
                // RFC 8314 section 3.
                assert_eq!(tls == Tls::Implicit, matches!(port, 995 | 465), "{host}:{port}");
            }
            let Some(oauth) = preset.oauth else { continue };
            for url in [oauth.authorize_url, oauth.token_url] {
                assert!(url.starts_with("https://"), "{url}");
            }
            assert!(!oauth.scopes.is_empty() && !oauth.scopes.contains("  "), "{}", oauth.scopes);
        }
        assert!(find("nobody").is_none());
    }
}
