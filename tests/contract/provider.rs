//! What the suite needs of a server under test, whatever it speaks. Describes and observes; it never asserts.

use model::workload::Workload;
use servers::{CountingProxy, Fault};
use store::profile::ProfileFields;

/// A provider on real servers, with doors of its own: what a test does to its doors no other test feels.
pub(crate) trait Provider: Sized + Send + Sync + 'static {
    /// As the table of the contract names it.
    const NAME: &'static str;

    /// The workloads whose servers have doors of their own; the others go through these.
    const DOORS: &'static [Workload];

    /// Whether the server speaks first: then nothing secret is said to one that says nothing, or nonsense.
    const GREETS: bool;

    /// Requests of the shortest conversation that reads or hands over a message.
    const REQUESTS: u32;

    /// Connections of one mailbox at once.
    const OF_A_MAILBOX: usize;

    /// Whether a server can be asked later what became of a message, so that no doubt stays.
    const CAN_BE_ASKED: bool;

    /// Why a line of the contract means nothing for this provider; none when it has to hold.
    fn lacks(line: &str) -> Option<&'static str>;

    /// Makes the doors, and starts the servers behind them unless they run already.
    async fn start() -> Self;

    /// A profile that leads through the doors.
    fn profile(&self) -> ProfileFields;

    /// The door that a workload's connections go through.
    fn door(&self, workload: Workload) -> &dyn Door;

    /// Makes a mailbox that one signs in to with its address.
    fn add_mailbox(&self, address: &str, password: &str);

    /// Changes its password from the next sign-in on.
    fn set_password(&self, address: &str, password: &str);

    /// Puts a raw message into a mailbox, past every door.
    fn deliver(&self, address: &str, raw: &[u8]);

    /// What is in a mailbox now, in the order of its arrival.
    fn holds(&self, address: &str) -> Vec<Vec<u8>>;

    /// The copies of what it sent that the server keeps for the sender.
    fn saved(&self, address: &str) -> Vec<Vec<u8>>;

    /// Refuses a recipient from now on, or takes it again.
    fn refuse(&self, recipient: &str, how: Option<Refusal>);

    /// The messages that were handed over so far, whatever the server answered: one for each time.
    fn handed_over(&self) -> Vec<HandedOver>;

    /// The largest message that the server takes, in bytes.
    fn size_limit(&self) -> usize;

    /// Over how many connections mail was handed over so far.
    fn submissions(&self) -> usize;
}

/// How a recipient is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For good.
    ForGood,
    /// For now.
    ForNow,
}

/// A message as the server got it, with its envelope.
#[derive(Clone, Debug)]
pub(crate) struct HandedOver {
    /// To whom it was to be delivered, in lower case.
    pub(crate) recipients: Vec<String>,
    /// The message.
    pub(crate) raw: Vec<u8>,
}

/// The way to one of a provider's servers: counts connections and fails on request. A *request* is what the provider's
/// protocol makes of it; they are counted from 1.
pub(crate) trait Door: Sync {
    /// Counts the connections; refuses, cuts and swallows them.
    fn front(&self) -> &CountingProxy;

    /// Does this to the connections that are opened from now on.
    fn set(&self, fault: Fault);

    /// Waits until a request is kept back, see [`Fault::Hold`].
    fn reached(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Passes on what is kept back.
    fn go_on(&self);

    /// Whether a connection came to the request at which the fault that was set last strikes.
    fn struck(&self) -> bool;

    /// Forgets the conversations so far.
    fn forget(&self);

    /// Whether a secret was said in any conversation so far, in the clear or not.
    fn heard_a_secret(&self) -> bool;
}
