//! The sentences of every kind of alert. Parameters in braces are given by whoever raises it; none of them is ever a
//! subject, a body or a secret.

use super::AlertKind as K;
use super::Class::{Permanent, Transient};
use super::Level::{Error, Information, Warning};
use super::Scope::{Email, Mailbox, Profile};
use super::{Class, Facts, Level, Scope};

const fn of(
    level: Level,
    scope: Scope,
    class: Class,
    title: &'static str,
    happened: &'static str,
    remedy: &'static str,
) -> Facts {
    Facts { level, scope, class, title, happened, remedy }
}

pub(super) const fn facts(kind: K) -> Facts {
    match kind {
        K::NameNotResolved => of(
            Warning,
            Profile,
            Transient,
            "The server's name has no address",
            "The name of the server {endpoint} could not be resolved to an address.",
            "Check the host name on the profile. If it is right, check the name servers that Lockstep's machines use. \
             Its mailboxes pause and go on by themselves once the name resolves.",
        ),
        K::NetworkForbidden => of(
            Error,
            Profile,
            Permanent,
            "The server lies in a closed network",
            "The server {endpoint} has an address in a loopback, link-local or private network, and those are closed \
             to profiles.",
            "If the server is meant, the operator allows its network with the configuration key `network.allow`; \
             otherwise correct the host name on the profile.",
        ),
        K::ConnectionRefused => of(
            Warning,
            Profile,
            Transient,
            "The server refuses connections",
            "Nothing accepts connections at {endpoint}.",
            "Check the port on the profile, and that the server runs and its firewall lets Lockstep in. Its mailboxes \
             pause and go on by themselves once it answers.",
        ),
        K::ConnectionTimedOut => of(
            Warning,
            Profile,
            Transient,
            "The server does not answer in time",
            "The server {endpoint} did not answer within the time allowed.",
            "Check that the server runs and that no firewall swallows the connection. If it is only slow, raise the \
             connection timeout on the profile. Its mailboxes pause and go on by themselves once it answers.",
        ),
        K::ConnectionLost => of(
            Warning,
            Profile,
            Transient,
            "The server ends connections early",
            "The server {endpoint} ended the connection in the middle of a conversation.",
            "If it goes on, look into the server's own log for the reason; a limit on connections per address is the \
             usual one. Lower the maximum of connections on the profile if so.",
        ),
        K::CertificateNotTrusted => of(
            Error,
            Profile,
            Transient,
            "The server's certificate is not trusted",
            "The certificate of {endpoint} cannot be trusted: {reason}.",
            "If the server has a certificate of your own authority, store that authority's certificate (PEM) on the \
             profile. If the name differs, use the name in the certificate. If it expired, renew it on the server.",
        ),
        K::TlsMismatch => of(
            Error,
            Profile,
            Transient,
            "TLS and the port do not fit",
            "What the server speaks at {endpoint} is not what the profile expects there: {reason}.",
            "Set the profile's TLS to `implicit` for ports such as 995 and 465, and to `start_tls` for 110 and 587.",
        ),
        K::TlsNotOffered => of(
            Error,
            Profile,
            Transient,
            "The server offers no TLS",
            "The server {endpoint} does not offer to make the connection private, so nothing secret was said to it.",
            "Switch on STARTTLS at the server, or use the port where it speaks TLS from the start. Lockstep never \
             signs in over an open connection.",
        ),
        K::ServerBusy => of(
            Information,
            Profile,
            Transient,
            "The server asked to be left alone",
            "The server {endpoint} asked for fewer or later connections.",
            "Nothing needs to be done: Lockstep waits as long as the server asked. If it happens all day, lower the \
             maximum of connections on the profile.",
        ),
        K::ProtocolViolated => of(
            Warning,
            Mailbox,
            Transient,
            "The server's answer makes no sense",
            "The server {endpoint} answered in a way its protocol does not allow: {reason}.",
            "Check that the profile names a mail server of the right kind and port. If it does, report the server's \
             words to whoever runs it. Lockstep tries again.",
        ),
        K::SignInRefused => of(
            Error,
            Mailbox,
            Permanent,
            "A test's sign-in is refused",
            "The server {endpoint} refused the user name or password that the mailbox was tested with.",
            "Store the present password with `lockstep mailbox set-password`, or on the profile when its credentials \
             live there, then test again. If two-step sign-in is on, the server wants an app password.",
        ),
        K::CredentialsRefused => of(
            Error,
            Mailbox,
            Permanent,
            "The password is refused",
            "The server {endpoint} refused the mailbox's user name or password twice, at least five minutes apart. \
             The {workload} workload is switched off so that the account is not locked.",
            "Store the present password on the mailbox (`lockstep mailbox set-password`), then test and enable it \
             again. If two-step sign-in is on, the server wants an app password.",
        ),
        K::ProfileCredentialsRefused => of(
            Error,
            Profile,
            Permanent,
            "The profile's password is refused",
            "The server {endpoint} refused the profile's user name or password. All mailboxes of the profile are \
             paused; none is switched off.",
            "Store the present password on the profile (`lockstep profile set-password`): its mailboxes go on by \
             themselves.",
        ),
        K::CredentialsMissing => of(
            Error,
            Mailbox,
            Permanent,
            "No password is stored",
            "There is no password to sign in to {endpoint} with.",
            "Store one with `lockstep mailbox set-password`, or on the profile when its credentials live there, then \
             test and enable the mailbox.",
        ),
        K::ConsentNeeded => of(
            Error,
            Mailbox,
            Permanent,
            "Somebody must consent again",
            "The token server {token_server} gives no more tokens for what was consented to: the consent was withdrawn, \
             ran out, or its last token was lost. What signs in with it is paused.",
            "Ask for a new link with `lockstep mailbox consent` (or `lockstep profile consent` when the credentials live \
             there), and open it as whoever owns the mailbox. Everything goes on by itself then.",
        ),
        K::TokenRefused => of(
            Error,
            Profile,
            Permanent,
            "The token server refuses the application",
            "The token server {token_server} refuses the profile's application: {reason}. All mailboxes of the profile are \
             paused; none is switched off.",
            "Read the server's words. Mostly the application's secret ran out: make a new one there and store it with \
             `lockstep profile set-oauth`. Where a scope is missing, permit it to the application at the provider, or \
             correct the scopes there. The mailboxes go on by themselves then.",
        ),
        K::TokenServerAway => of(
            Warning,
            Profile,
            Transient,
            "The token server cannot be asked",
            "The token server {token_server} could not be asked for a token: {reason}.",
            "Check its address with `lockstep profile show`, and that it can be reached from Lockstep's machines. Where its \
             certificate is not trusted and its authority is your own, store that on the profile. Nothing is switched off; \
             mailboxes go on by themselves once it answers.",
        ),
        K::CredentialExpiresSoon => of(
            Warning,
            Profile,
            Transient,
            "Something to sign in with ends soon",
            "The {what} of the profile or mailbox ends at {at}.",
            "Renew it before: a client secret at the provider and with `lockstep profile set-oauth`, a consent with \
             `lockstep mailbox consent`, a certificate authority with `lockstep profile update --ca-file`.",
        ),
        K::MailboxRefused => of(
            Warning,
            Mailbox,
            Transient,
            "The server does not let the mailbox in",
            "The server {endpoint} does not open the mailbox, and its password is not the reason: {reason}.",
            "Read the server's words and ask whoever runs the server. Lockstep tries ten times, five minutes apart.",
        ),
        K::MessagesWithheld => of(
            Warning,
            Mailbox,
            Transient,
            "The server gives none of its messages",
            "The server {endpoint} lists new messages of the mailbox and gave none of the {refused} that were asked for.",
            "Read the server's words and ask whoever runs the server: its store of messages is the usual reason. No \
             message is given up for it. Lockstep tries ten times, five minutes apart.",
        ),
        K::MailboxLocked => of(
            Information,
            Mailbox,
            Transient,
            "Another session holds the mailbox",
            "Another program has the mailbox open at {endpoint}, and POP3 allows one at a time.",
            "Nothing needs to be done if it passes. If it does not, find the program that reads the same mailbox by \
             POP3 and end it.",
        ),
        K::ImpersonationRefused => of(
            Warning,
            Mailbox,
            Transient,
            "The account may not impersonate the mailbox's owner",
            "The server {endpoint} does not let the profile's account act in the name of the mailbox's owner: {reason}.",
            "Give the account the role ApplicationImpersonation with a scope that holds this mailbox, or set the profile's \
             access to `delegate` and give the account full access to the mailbox. Then test the mailbox again.",
        ),
        K::MailboxUnknown => of(
            Warning,
            Mailbox,
            Transient,
            "The server has no such mailbox",
            "The server {endpoint} knows no mailbox by this address: {reason}.",
            "Compare the mailbox's address with the primary address at the server, and check that the mailbox lives there \
             and was not moved to another server. Then test it again.",
        ),
        K::MailboxNotLicensed => of(
            Warning,
            Mailbox,
            Transient,
            "The mailbox is switched off at the server",
            "The server {endpoint} has the mailbox and does not serve it: {reason}.",
            "Give the mailbox a license that contains Exchange, or enable it at the server. Lockstep tries ten times, five \
             minutes apart; then test and enable it again.",
        ),
        K::UidlNotOffered => of(
            Error,
            Mailbox,
            Permanent,
            "The server cannot name messages lastingly",
            "The server {endpoint} does not offer UIDL, without which a message seen before cannot be told from a new \
             one.",
            "Switch UIDL on at the server, or use another way to reach the mailbox. Lockstep does not guess: it would \
             read every message again and again.",
        ),
        K::NotAMailbox => of(
            Error,
            Mailbox,
            Permanent,
            "The address is no mailbox of its own",
            "The server {endpoint} says that the address is {what}.",
            "{instead} Then test it again.",
        ),
        K::AutodiscoverFailed => of(
            Warning,
            Mailbox,
            Transient,
            "Nobody says where the mailbox's server is",
            "The mailbox's Exchange server was looked for by autodiscover at {whom}, and not found: {reason}.",
            "Ask whoever runs the server whether autodiscover is published for the mailbox's domain, and correct the \
             mailbox's address if it is another's. Where it is not published, name the server: `lockstep profile update \
             {profile} --exchange URL`, or whoever knows: `--autodiscover-url URL`. Then test the mailbox again.",
        ),
        K::HostConsentNeeded => of(
            Error,
            Mailbox,
            Permanent,
            "Autodiscover leads to a host that needs consent",
            "Autodiscover leads to the host {host}, which is neither under the mailbox's domain nor named on the profile \
             {profile}. {led}. It has not been given the credentials.",
            "If {host} is your server or your provider's, an administrator allows it once: `lockstep profile allow-host \
             {profile} {host}`, and tests the mailbox again. If you do not know it, somebody may be after the password: \
             find out who answers for the mailbox's domain first.",
        ),
        K::MailboxClaimed => of(
            Error,
            Mailbox,
            Permanent,
            "Somebody else synchronizes the mailbox",
            "The mailbox at {endpoint} is marked as synchronized by the organization {organization} of the installation \
             {installation}.",
            "Disable it there first: two that synchronize one mailbox record its mail twice. If that one is gone for good, \
             take the mailbox with `lockstep mailbox test --force`; the change log says who did.",
        ),
        K::MailboxKeptFailing => of(
            Error,
            Mailbox,
            Permanent,
            "A mailbox kept failing",
            "The {workload} workload failed ten times in a row and is switched off. The last reason: {reason}.",
            "Mend the reason, then test and enable the mailbox again. Nothing was lost: what waits on the server is \
             read then.",
        ),
        K::MailboxEmptied => of(
            Warning,
            Mailbox,
            Transient,
            "Most messages have gone from the server",
            "{gone} of {known} known messages are no longer on the server, or have new names there.",
            "If the mailbox was moved to another server or cleaned up, nothing needs to be done: messages that come \
             under new names are recognised. If the server hides what was read, have it keep showing it, as docs/pop3.md \
             says. Otherwise ask whoever runs the server.",
        ),
        K::MessagesVanished => of(
            Warning,
            Mailbox,
            Permanent,
            "Messages have gone before they were recorded",
            "{count} messages that could not be read or recorded yet are no longer on the server.",
            "Look in the mailbox with a mail program: somebody may have moved or deleted them. If the server deletes or \
             hides what was read, have it keep messages, as docs/pop3.md says.",
        ),
        K::FolderNotRead => of(
            Warning,
            Mailbox,
            Permanent,
            "A folder is not read",
            "The folder {folder} is to be read beside the inbox and is not: {reason}.",
            "Make the folder again, or say anew which folders are to be read: `lockstep mailbox folders`. The inbox and the \
             other folders are read all the while, and folders are looked for once an hour.",
        ),
        K::MessageTooLarge => of(
            Warning,
            Mailbox,
            Permanent,
            "A message is too large",
            "A message of {size_mb} MB was not read: the limit is {limit_mb} MB. It stays on the server.",
            "Raise the setting `max_message_mb` if such messages are wanted, then have what was passed over examined \
             again: `lockstep mailbox re-examine`.",
        ),
        K::MessageUnparsable => of(
            Warning,
            Email,
            Permanent,
            "A message could not be parsed",
            "A message is so malformed that no parties or text could be read from it. It is kept as it came.",
            "Open its raw form if it matters. Nothing was lost and nothing else is held up.",
        ),
        K::MessageUndeliverable => of(
            Error,
            Mailbox,
            Permanent,
            "A message could not be recorded",
            "A message could not be recorded in five tries: {reason}. It stays on the server.",
            "Mend the reason, then have the mailbox examined again (`lockstep mailbox re-examine`): the message is then \
             tried anew.",
        ),
        K::MessageRefused => of(
            Error,
            Email,
            Permanent,
            "The server refused the message",
            "The server {endpoint} refused to take the email: {reason}.",
            "Read the server's words. If the sender is not allowed, ask whoever runs the server; if the message is \
             too large or looks like spam to it, change it and send it again.",
        ),
        K::SendAsRefused => of(
            Error,
            Email,
            Permanent,
            "The account may not send in this name",
            "The server {endpoint} took the email as a draft, and refused to send it: the account that signs in may not send as \
             the mailbox, or on its behalf. The draft was taken away, and nobody got the email.",
            "Have whoever runs the server give the account the right `Send As` (or `Send on Behalf`) for this mailbox, or let \
             the profile use impersonation, then send the email again.",
        ),
        K::RecipientsRefused => of(
            Error,
            Email,
            Permanent,
            "Recipients were refused",
            "The server {endpoint} refused {refused} of {recipients} recipients for good. The others are not affected.",
            "Correct the addresses and send the email again: it then goes to those who have not got it. Its text stays \
             as the others have got it.",
        ),
        K::RecipientBounced => of(
            Error,
            Email,
            Permanent,
            "An email came back",
            "The server {reporter} reports that an email, once accepted, could not be delivered to {bounced} of its \
             {recipients} recipients.",
            "Read the server's words beside each recipient. Correct the addresses and write to them again; when nobody \
             got it, the same email can be edited and sent again. Lockstep sends nothing again by itself.",
        ),
        K::RecipientDelayed => of(
            Warning,
            Email,
            Transient,
            "An email is delayed",
            "The server {reporter} reports that it could not deliver an email yet to {delayed} of its {recipients} \
             recipients. It goes on trying.",
            "Nothing needs to be done, and sending the email again would double it. A report of the end follows when it \
             comes back; one that gets through is mostly not reported, so put this away when the recipient has answered. \
             If it is urgent, reach them another way.",
        ),
        K::SendUnknown => of(
            Error,
            Email,
            Permanent,
            "Nobody knows whether an email was sent",
            "The connection to {endpoint} ended after the email was handed over and before the server answered. It \
             may have been sent or not.",
            "Ask a recipient or look into the mailbox's sent mail, then either mark the email as sent or send it \
             again. Lockstep does neither by itself.",
        ),
        K::MaybeSentTwice => of(
            Warning,
            Email,
            Permanent,
            "An email may have been sent twice",
            "The email was sent again although an earlier try may have succeeded.",
            "Nothing needs to be done. Recipients may see it twice; both have the same Message-ID when the servers \
             keep it.",
        ),
        K::SendWaiting => of(
            Warning,
            Email,
            Transient,
            "An email waits to be sent",
            "The email has waited for a quarter of an hour to be sent.",
            "Look at the sender's mailbox: its outgoing workload says what holds it up.",
        ),
        K::SendTooLate => of(
            Error,
            Email,
            Permanent,
            "An email was not sent in time",
            "The email could not be sent within {hours} hours and will not be sent any more.",
            "Look at the sender's mailbox for the reason, then send the email again if it is still wanted.",
        ),
        K::SendWithdrawn => of(
            Warning,
            Email,
            Permanent,
            "A send was taken back",
            "The email, or what of it had not left yet, was not sent: {reason}.",
            "Nothing is lost. Mend the reason and ask for it to be sent again, or send it from a mailbox of your own.",
        ),
        K::MailboxEnabled => of(
            Information,
            Mailbox,
            Permanent,
            "A mailbox is enabled",
            "The mailbox was tested and enabled for: {workloads}.",
            "Nothing needs to be done.",
        ),
        K::LockstepFault => of(
            Error,
            Mailbox,
            Transient,
            "Lockstep itself is at fault",
            "A cycle of the mailbox could not be run for a reason inside Lockstep: {reason}.",
            "Report this with the log of that time. Nothing is lost: Lockstep tries ten times, five minutes apart, \
             before it switches the workload off.",
        ),
        K::LockstepPartAway => of(
            Warning,
            Profile,
            Transient,
            "A part of Lockstep is away",
            "One of Lockstep's own parts does not answer: {part}.",
            "Run `lockstep doctor`. Nothing is lost; work goes on by itself once the part is back.",
        ),
    }
}
