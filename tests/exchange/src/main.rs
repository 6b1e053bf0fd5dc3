//! `lockstep-exchange`: the simulator by itself, for the demo and for a look with a client of one's own.
//!
//! `lockstep-exchange [--port N] [--ca FILE] [--data FILE] [--mailbox ADDRESS:PASSWORD]… [--config FILE]`. It prints where it
//! listens and runs until it is interrupted; everything in it is gone then, unless it is kept in a file.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use exchange::{Exchange, Offer, Options};
use serde::Deserialize;

/// The file of `--config`, in TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Configuration {
    port: Option<u16>,
    /// Where mailboxes are kept between one start and the next.
    data: Option<PathBuf>,
    /// Where the authority's certificate is written.
    ca: Option<String>,
    /// Names that the certificate is for, beside `localhost`.
    names: Vec<String>,
    /// A certificate chain and its key, as files in PEM.
    certificate: Option<String>,
    key: Option<String>,
    /// `basic`, `bearer` and `ntlm`; the first two when nothing is said.
    offers: Vec<String>,
    mailboxes: Vec<Mailbox>,
    accounts: Vec<Account>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mailbox {
    address: String,
    name: Option<String>,
    password: String,
    #[serde(default)]
    aliases: Vec<String>,
}

/// Somebody without a mailbox who may impersonate everybody.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    login: String,
    password: String,
}

const HELP: &str =
    "An Exchange to develop against: web services and autodiscover over HTTPS on 127.0.0.1.

Usage: lockstep-exchange [--port N] [--ca FILE] [--data FILE] [--mailbox ADDRESS:PASSWORD]... [--config FILE]

  --port N                    where it listens; a free port otherwise
  --ca FILE                   writes the certificate of its authority there, for a client to trust
  --data FILE                 keeps what is in the mailboxes there until the next start; passwords are not kept
  --mailbox ADDRESS:PASSWORD  a mailbox; its address is the login
  --config FILE               all of it in TOML; what stands before it is forgotten:

    port = 8443
    ca = \"ca.pem\"
    data = \"mailboxes\"
    offers = [\"basic\", \"bearer\", \"ntlm\"]   # the first two when nothing is said
    names = [\"mail.example.org\"]            # of the certificate, beside localhost
    [[mailboxes]]
    address = \"anna@example.org\"
    password = \"secret\"
    name = \"Anna Adams\"
    aliases = [\"ann@example.org\"]
    [[accounts]]                            # without a mailbox; may impersonate everybody
    login = \"service\"
    password = \"secret\"

It prints the endpoint and runs until it is interrupted; everything in it is gone then, unless --data keeps it.";

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let configuration = arguments()?;
    let certificate = match (&configuration.certificate, &configuration.key) {
        (Some(chain), Some(key)) => Some((fs::read_to_string(chain)?, fs::read_to_string(key)?)),
        (None, None) => None,
        _ => return Err("a certificate needs its key, and a key its certificate: give both or none".into()),
    };
    let mut offers = Vec::new();
    for offer in &configuration.offers {
        offers.push(match offer.as_str() {
            "basic" => Offer::Basic,
            "bearer" => Offer::Bearer,
            "ntlm" => Offer::Ntlm,
            other => return Err(format!("{other} is no way to sign in: basic, bearer and ntlm are").into()),
        });
    }
    let defaults = Options::default();
    let exchange = Exchange::try_start(Options {
        offers: if offers.is_empty() { defaults.offers.clone() } else { offers },
        data: configuration.data,
        port: configuration.port,
        names: configuration.names,
        certificate,
        ..defaults
    })?;
    for mailbox in &configuration.mailboxes {
        let name = mailbox.name.as_deref().unwrap_or(&mailbox.address);
        exchange.add_mailbox(&mailbox.address, name, &mailbox.password);
        for alias in &mailbox.aliases {
            exchange.add_alias(&mailbox.address, alias);
        }
    }
    for account in &configuration.accounts {
        exchange.add_account(&account.login, &account.password);
        exchange.allow_impersonation(&account.login);
    }
    if let Some(file) = &configuration.ca {
        fs::write(file, exchange.ca_pem())?;
    }
    println!("{}", exchange.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    Ok(())
}

fn arguments() -> Result<Configuration, Box<dyn Error>> {
    let mut configuration = Configuration::default();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--config" => configuration = toml::from_str(&fs::read_to_string(value()?)?)?,
            "--port" => configuration.port = Some(value()?.parse()?),
            "--ca" => configuration.ca = Some(value()?),
            "--data" => configuration.data = Some(value()?.into()),
            "--mailbox" => {
                let given = value()?;
                let (address, password) = given
                    .split_once(':')
                    .ok_or("--mailbox wants ADDRESS:PASSWORD, such as anna@example.org:secret")?;
                configuration.mailboxes.push(Mailbox {
                    address: address.to_owned(),
                    name: None,
                    password: password.to_owned(),
                    aliases: Vec::new(),
                });
            }
            other => {
                return Err(format!("{other} is not known: --port --ca --data --mailbox --config are").into());
            }
        }
    }
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_that_help_shows_is_understood() {
        let example: Vec<&str> = HELP.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let configuration: Configuration = toml::from_str(&example.join("\n")).unwrap();
        assert_eq!((configuration.mailboxes.len(), configuration.accounts.len()), (1, 1));
        assert_eq!(configuration.offers, ["basic", "bearer", "ntlm"]);
    }
}
