//! Keeps the servers alone running, for a `lockstep` started by hand, and prints the configuration that leads to
//! them: `dev [FILE]` also writes it to FILE, and the mail servers' authority beside it. Everything is gone when it
//! ends.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{error::Error, fmt::Write as _, fs, io::Read, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use servers::{MailOptions, MailServers, Postgres, RabbitMq, Redis};

const DATABASE: &str = "lockstep";
/// The database is as young as this process, so its installation needs no id that is new in the world.
const INSTALLATION: &str = "5e5a2c0e-0000-4000-8000-00000000d0e5";
const MAILBOXES: [&str; 3] = ["anna@example.org", "bert@example.org", "support@example.org"];
const PASSWORD: &str = "secret";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (postgres, rabbitmq, redis, mail) = tokio::try_join!(
        Postgres::try_start(),
        RabbitMq::try_start(),
        Redis::try_start(),
        MailServers::try_start(MailOptions::default()),
    )?;
    postgres.create_database(DATABASE).await;
    for address in MAILBOXES {
        mail.add_mailbox(address, PASSWORD);
    }

    let text = configuration(&postgres, &rabbitmq, &redis)? + &guide(&postgres, &rabbitmq, &redis, &mail);
    println!("{text}");
    if let Some(file) = std::env::args_os().nth(1).map(PathBuf::from) {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let authority = file.with_extension("ca.pem");
        fs::write(&authority, mail.ca_pem())?;
        fs::write(&file, text)?;
        println!("# This is {}; the mail servers' authority is {}.", file.display(), authority.display());
    }
    println!("# Ready. Ctrl-C ends the servers and removes their data.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn configuration(postgres: &Postgres, rabbitmq: &RabbitMq, redis: &Redis) -> Result<String, Box<dyn Error>> {
    let mut random = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let secret = BASE64_STANDARD.encode(random);
    let owner = postgres.owner_url(DATABASE);
    let port = postgres.port;
    let (amqp, redis) = (rabbitmq.amqp_uri("/"), redis.url());
    Ok(format!(
        "[installation]\nid = \"{INSTALLATION}\"\n\n\
         [database]\nurl = \"postgres://lockstep@127.0.0.1:{port}/{DATABASE}\"\n\n\
         [migration]\nurl = \"{owner}\"\n\n\
         [secrets]\nkey_ring = \"dev:{secret}\"\n\n\
         [broker]\nurl = \"{amqp}\"\n\n\
         [coordinator]\nredis_url = \"{redis}\"\ntoken = \"{secret}\"\n\n\
         [throttle]\ntoken = \"{secret}\"\n\n\
         # The mail servers are on this machine.\n\
         [network]\nallow = [\"127.0.0.0/8\", \"::1/128\"]\n\n"
    ))
}

/// One line for each server: where it is and where it writes down what it does.
fn guide(postgres: &Postgres, rabbitmq: &RabbitMq, redis: &Redis, mail: &MailServers) -> String {
    let mut text = String::new();
    let logs = mail.directories().map(|directory| directory.join("log").display().to_string());
    let [dovecot, postfix] = logs;
    for (what, port, log) in [
        ("Postgres", postgres.port, postgres.directory().join("log").display().to_string()),
        ("RabbitMQ, AMQP", rabbitmq.port, rabbitmq.directory().join("log").display().to_string()),
        ("RabbitMQ, management (guest, guest)", rabbitmq.management_port, String::new()),
        ("Redis", redis.port, redis.directory().join("log").display().to_string()),
        ("POP3 with STLS", mail.pop3_port, dovecot),
        ("POP3 with TLS", mail.pop3s_port, String::new()),
        ("IMAP", mail.imap_port, String::new()),
        ("IMAP with TLS", mail.imaps_port, String::new()),
        ("submission with STARTTLS", mail.submission_port, postfix),
        ("submission with TLS", mail.submissions_port, String::new()),
    ] {
        let _ = writeln!(text, "# {what:<36} 127.0.0.1:{port} {log}");
    }
    let _ = writeln!(text, "# Mailboxes {}, password {PASSWORD}.", MAILBOXES.join(", "));
    text
}
