//! What somebody signs in with at a mail server.

use crate::names::names;

names! {
    /// The kind of a credential.
    "kind of credential" CredentialKind {
        /// A user name and a password.
        Password = "password",
        /// Access tokens that an application gets by its own secret (RFC 6749 section 4.4).
        ClientCredentials = "oauth2_client_credentials",
        /// Access tokens that a person consented to (RFC 6749 section 4.1).
        AuthorizationCode = "oauth2_authorization_code",
    }

    /// How an application gets its access tokens.
    "grant" GrantType {
        /// By its own secret: one token opens all mailboxes that the application may open.
        ClientCredentials = "client_credentials",
        /// By the consent of whoever owns the mailbox.
        AuthorizationCode = "authorization_code",
    }
}

impl GrantType {
    /// The kind of the credentials that it makes.
    pub const fn kind(self) -> CredentialKind {
        match self {
            Self::ClientCredentials => CredentialKind::ClientCredentials,
            Self::AuthorizationCode => CredentialKind::AuthorizationCode,
        }
    }
}
