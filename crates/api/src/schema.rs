//! The model's closed sets of names as OpenAPI schemas, so that the document and the code cannot differ. The model itself
//! knows nothing of OpenAPI.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! schemas {
    ($($name:ident = $type:ty, $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($doc))
                    .enum_values(Some(<$type>::ALL.iter().map(|value| value.as_str())))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

schemas! {
    AlertClass = model::alert::Class, "Whether it can pass by itself.";
    AlertKind = model::alert::AlertKind, "What went wrong; each kind has a page under docs/alerts/.";
    AlertLevel = model::alert::Level, "How loudly an alert speaks.";
    AlertScope = model::alert::Scope, "What an alert is about.";
    Acceptance = model::mailbox::Acceptance, "Which incoming messages become records.";
    Automatic = model::automatic::Automatic, "What kind of automatic mail an email is.";
    FolderProblem = model::folder::Problem, "Why a folder that was chosen to be read is not.";
    Approval = model::mailbox::Approval, "Whether an administrator vouches for a mailbox's address.";
    CredentialsOn = model::profile::CredentialsOn, "Where the credentials of a profile's mailboxes live.";
    Decision = model::email::Decision, "What was decided about an item seen in a mailbox.";
    DeliveryMethod = model::mailbox::DeliveryMethod, "How one workload of a mailbox is delivered.";
    Direction = model::email::Direction, "Which way an email travelled.";
    EmailState = model::email::EmailState, "Where an email stands.";
    ExchangeAccess = model::profile::ExchangeAccess, "In whose name an Exchange server is asked.";
    GrantType = model::credential::GrantType, "How an application gets its access tokens.";
    CredentialKind = model::credential::CredentialKind, "What somebody signs in with.";
    Importance = model::message::Importance, "How important an email is.";
    JobKind = model::job::JobKind, "What an async operation does.";
    JobState = model::job::JobState, "Where an async operation stands.";
    KeyScope = model::actor::Scope, "What a service key may do.";
    OwnerKind = model::mailbox::OwnerKind, "The two kinds of mailbox and record owner.";
    PartyRole = model::email::PartyRole, "What a party is to an email.";
    ProfileKind = model::profile::ProfileKind, "What kind of server a profile names.";
    RateProvider = model::rate::RateProvider, "Whose published figures hold for a server.";
    RateScope = model::rate::RateScope, "What a rate is counted over.";
    RateUnit = model::rate::RateUnit, "What a rate counts.";
    RecipientState = model::email::RecipientState, "Where one recipient of a send request stands.";
    ReportKind = model::report::ReportKind, "What kind of report a message is.";
    ReportedAction = model::report::ReportedAction, "What a report says was done for a recipient.";
    Role = model::mailbox::Role, "What a user may do.";
    SendAnswer = model::email::SendAnswer, "How a try to hand a message to a server ended.";
    StepOutcome = model::job::StepOutcome, "How a step of an operation went.";
    TestResult = model::mailbox::TestResult, "What the last test of a workload said.";
    Workload = model::workload::Workload, "One of the three streams of work a mailbox has.";
}
