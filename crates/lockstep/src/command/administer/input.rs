//! What a person types or a program feeds: passwords, which never stand on a command line, and confirmations.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use model::secret::{ExposeSecret as _, Secret};

use super::context::refused;
use crate::command::Failure;

/// Where a password comes from.
#[derive(Clone, Copy, Debug, Args)]
pub struct Password {
    /// Read the password from standard input, its first line, instead of asking for it.
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    /// Reads it: without echo from the terminal, or from standard input.
    pub(super) fn read(self, whose: &str) -> Result<Secret, Failure> {
        let unreadable =
            |error: std::io::Error| refused(&format!("no password could be read: {error}"), REMEDY);
        let text = if self.password_stdin {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        } else if std::io::stdin().is_terminal() {
            let mut terminal = console::Term::stderr();
            let _ = write!(terminal, "Password of {whose}: ");
            terminal.read_secure_line().map_err(unreadable)?
        } else {
            return Err(refused("there is no terminal to ask for the password", REMEDY));
        };
        if text.is_empty() {
            return Err(refused("the password is empty", REMEDY));
        }
        Ok(text.into())
    }
}

/// Asks a person; refused where nobody can be asked.
pub(in crate::command) fn asked(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at", "give --yes when you are sure"));
    }
    let unreadable = |error: std::io::Error| {
        refused(&format!("no answer could be read: {error}"), "give --yes when you are sure")
    };
    let mut terminal = console::Term::stderr();
    write!(terminal, "{question} [y/N] ").map_err(unreadable)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

const REMEDY: &str =
    "type it when asked, or give --password-stdin and feed it: `… --password-stdin < password.txt`";

/// The value that goes into a request's body.
pub(super) fn exposed(password: &Secret) -> &str {
    password.expose_secret()
}
