//! The command line: what there is, in words that teach it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::workload::Workload;

use crate::roles::Role;

/// Keeps a business application and its people's mailboxes in step, on the server.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    about,
    max_term_width = 100,
    after_help = "A first mailbox in five minutes is in README.md. Every configuration key is in config.default.toml \
                  (`lockstep config`); each can be given as an environment variable: `broker.url` is \
                  LOCKSTEP__BROKER__URL."
)]
pub struct Arguments {
    /// The configuration file; what it does not name keeps its default.
    #[arg(long, short, global = true, env = "LOCKSTEP_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run any set of roles in one process, all of them by default.
    Run {
        /// The roles, separated by commas.
        #[arg(long, value_delimiter = ',', value_name = "ROLE")]
        roles: Vec<Role>,
        #[command(flatten)]
        worker: WorkerArguments,
    },
    /// Run the scheduler: finds what is due and publishes it. Any number may run.
    Scheduler,
    /// Run a coordinator: grants leases on connections to mail servers. Any number may run.
    Coordinator,
    /// Run a worker: synchronization cycles. Any number may run.
    Worker(WorkerArguments),
    /// Run the async job service: operations that people asked for, such as test and enable.
    Jobs,
    /// Run the REST API.
    Api,
    /// Bring the database to this version's schema, and give the application's login its rights.
    ///
    /// Signs in with `migration.url`, the owner's login. Run it before the roles of a new version; running it again
    /// changes nothing, and several may run at once.
    Migrate,
    /// Make a copied database an installation of its own.
    ///
    /// A database carries the id of its installation, and nothing runs on a copy under another `installation.id`, so that
    /// it never sends a second copy of the original's mail. Adopting switches every mailbox off until it is tested again and
    /// makes waiting sends drafts again. Give the copy a virtual host of RabbitMQ of its own. Signs in with
    /// `migration.url`; shows what it would do, and asks.
    Adopt {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Check that Postgres, RabbitMQ, Redis and the coordinator can be reached, and say what to do if not.
    Doctor {
        /// Also test this mailbox (its id or address), as `mailbox test` does, and print the steps.
        #[arg(long, value_name = "MAILBOX")]
        mailbox: Option<String>,
    },
    /// See which connections to mail servers are held, waited for and in doubt, and free those that are closed.
    #[command(subcommand)]
    Leases(LeasesCommand),
    /// Set up organizations. Works on the database itself, as whoever holds the configuration.
    #[command(subcommand)]
    Organization(OrganizationCommand),
    /// Print every configuration key with its default and meaning.
    Config,
    /// Print the OpenAPI document of the REST API.
    Openapi,
    #[command(flatten)]
    Administer(crate::command::administer::Administer),
}

/// What a worker takes.
#[derive(Debug, Default, Args)]
pub struct WorkerArguments {
    /// The workloads this worker takes, separated by commas; all by default.
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD")]
    pub workloads: Vec<Workload>,
}

/// What is known of connections to mail servers.
#[derive(Debug, Subcommand)]
pub enum LeasesCommand {
    /// Show the coordinators' ledger: every limit that is held, waited for or held back, and the slots in doubt.
    ///
    /// A slot is in doubt when its worker fell silent, or heard nothing of the mail server when it gave the connection up:
    /// the server may go on counting it, so it stays charged for the server's idle time. The first coordinator of
    /// `throttle.urls` that answers is asked.
    List {
        /// Only limits whose key begins so, such as `profile/ID` or `mailbox/ID`.
        #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
        key: String,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Say that the connection of a lease in doubt is closed: its slot is free at once.
    ///
    /// Look at the mail server's own list of connections first: a slot that is freed too early is one connection too many.
    Free {
        /// The lease, as `lockstep leases list` shows it.
        #[arg(value_name = "LEASE", value_parser = crate::command::lease)]
        lease: uuid::Uuid,
    },
}

/// Set up organizations.
#[derive(Debug, Subcommand)]
pub enum OrganizationCommand {
    /// Create an organization and its first administrator, and print the administrator's API key, once.
    Create {
        /// The organization's name.
        name: String,
        /// The first administrator's email address.
        #[arg(long, value_name = "ADDRESS")]
        admin: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}
