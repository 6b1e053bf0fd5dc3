//! What one cycle may use. The defaults are in `config.default.toml`.

use std::time::Duration;

use model::budget::Caps;
use serde::Deserialize;

/// The caps and deadlines of a cycle.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Items fetched or sent by one cycle.
    pub max_items: u32,
    /// Bytes fetched or sent by one cycle, in MB.
    pub max_mb: u32,
    /// How long one cycle may take.
    pub max_seconds: u32,
    /// Items in one transaction.
    pub batch_items: u32,
    /// Bytes of one batch at most, in MB: what a cycle holds in memory.
    pub batch_mb: u32,
    /// How long each phase of a conversation may take.
    pub phase_seconds: u32,
    /// Requests sent ahead of their answers where the server announces pipelining.
    pub pipeline: u32,
    /// The name Lockstep gives itself to SMTP servers; empty: the address literal of its end of the connection.
    pub smtp_client_name: String,
    /// Time to give one message to an SMTP server.
    pub smtp_message_seconds: u32,
    /// Time for an SMTP server to answer after the final dot; too short makes sends whose fate is unknown.
    pub smtp_verdict_seconds: u32,
    /// For how long a POP3 server may go on counting a connection that nobody speaks on: its idle timeout.
    pub pop3_in_doubt_seconds: u32,
    /// The same of an SMTP server.
    pub smtp_in_doubt_seconds: u32,
    /// The same of an Exchange server.
    pub ews_in_doubt_seconds: u32,
    /// From this size on, in MB, a message is streamed to the store and only its beginning is parsed.
    pub streamed_mb: u32,
    /// Bytes of messages on their way in that one process holds in memory at once, in MB, over all of its cycles. A profile
    /// holds no more of them than it leaves free.
    pub memory_mb: u32,
    /// The same of messages on their way out.
    pub send_memory_mb: u32,
}

impl Config {
    /// The caps of a cycle.
    pub fn caps(&self) -> Caps {
        Caps {
            items: self.max_items,
            bytes: u64::from(self.max_mb) * 1_000_000,
            time: Duration::from_secs(self.max_seconds.into()),
        }
    }

    /// The largest message that is read as a whole, in bytes.
    pub fn whole_bytes(&self) -> u64 {
        u64::from(self.streamed_mb) * 1_000_000
    }

    /// How long each phase of a conversation may take.
    pub fn phase_deadline(&self) -> Duration {
        Duration::from_secs(self.phase_seconds.into())
    }
}
