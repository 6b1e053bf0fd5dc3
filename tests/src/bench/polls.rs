//! Polls that find nothing new, the most of what a synchronization does all day: whole cycles, from the claim to the
//! next due time, beside a client that signs in, lists and leaves. A second figure is of the port that begins in plain text:
//! Lockstep makes it private (STLS) and has no third way, so the loop without any TLS beside it is no like for like.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::endpoint::Tls;
use model::id::MailboxId;
use model::workload::Workload;
use servers::MailServers;
use tokio::task::JoinSet;

use super::figure::{Line, Target};
use super::house::{House, PASSWORD, Place, message};
use super::pop3::{Bare, Way};
use super::{Measured, Trouble, per_second};

const MAILBOXES: usize = 100;
const MESSAGES: usize = 20;
/// How long each side polls.
const TIME: Duration = Duration::from_secs(6);

pub(super) async fn measure() -> Measured {
    let servers = MailServers::start().await;
    let addresses: Vec<String> = (0..MAILBOXES).map(|number| format!("idle{number}@bench.example")).collect();
    for address in &addresses {
        servers.add_mailbox(address, PASSWORD);
        for number in 0..MESSAGES {
            servers.deliver(address, &message(number, address));
        }
    }
    let bare = async |way| -> Result<f64, Trouble> {
        let bare = Bare::new(way, servers.ca_pem())?;
        poll_all(&bare, &addresses).await?;
        let (begun, mut polls) = (Instant::now(), 0);
        while begun.elapsed() < TIME {
            poll_all(&bare, &addresses).await?;
            polls += MAILBOXES;
        }
        Ok(each_core(polls, begun))
    };
    let (address, port) = servers.plain_pop3();
    let private = bare(Way::private(servers.pop3s_port)).await?;
    let made_private = bare(Way::MadePrivate(servers.pop3_port)).await?;
    let plain = bare(Way::Plain(address, port)).await?;

    let (tls, port) = (Tls::Implicit, servers.pop3s_port);
    let ours = cycles(&servers, &addresses, port, tls).await?;
    let line = Line::new("empty POP3 polls over TLS, whole cycles", ours, "polls/s and core");
    let mut lines = vec![line.beside("a bare poll loop", private).reaching(Target::Ratio(0.5))];
    let ours = cycles(&servers, &addresses, servers.pop3_port, Tls::StartTls).await?;
    let line = Line::new("empty POP3 polls at the plain port, with STLS", ours, "polls/s and core");
    lines.push(line.beside("a bare poll loop with STLS", made_private).reaching(Target::Ratio(0.5)));
    lines.push(line.beside("a bare poll loop without TLS", plain));
    Ok(lines)
}

/// Whole cycles through a store of their own.
async fn cycles(
    servers: &MailServers,
    addresses: &[String],
    pop3: u16,
    pop3_tls: Tls,
) -> Result<f64, Trouble> {
    let place = Place { pop3, pop3_tls, submissions: servers.submissions_port, ca: servers.ca_pem() };
    let house = Arc::new(House::build(&place).await?);
    let mut mailboxes = Vec::new();
    for address in addresses {
        mailboxes.push(house.mailbox(address).await?);
    }
    // What is there is read once, so that nothing is new from here on.
    house.drive(Workload::Incoming).await?;
    house.expect(&[("emails", MAILBOXES * MESSAGES)]).await?;
    let (begun, mut polls) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        polls += poll_as_cycles(&house, &mailboxes).await?;
    }
    let ours = each_core(polls, begun);
    house.expect(&[("emails", MAILBOXES * MESSAGES), ("receipts", MAILBOXES * MESSAGES)]).await?;
    Ok(ours)
}

async fn poll_as_cycles(house: &Arc<House>, mailboxes: &[MailboxId]) -> Result<usize, Trouble> {
    house.wish(mailboxes, Workload::Incoming).await?;
    let driven = house.drive(Workload::Incoming).await?;
    if driven.items != 0 || driven.cycles as usize != mailboxes.len() {
        return Err(format!("polls that should find nothing: {driven:?}").into());
    }
    Ok(mailboxes.len())
}

async fn poll_all(bare: &Bare, addresses: &[String]) -> Result<(), Trouble> {
    let mut polling = JoinSet::new();
    for address in addresses {
        let (bare, address) = (bare.clone(), address.clone());
        polling.spawn(async move { bare.poll(&address).await });
    }
    while let Some(listed) = polling.join_next().await {
        if listed?? != MESSAGES {
            return Err("a bare poll saw another number of messages".into());
        }
    }
    Ok(())
}

/// A second, of which client, server and Postgres share the cores.
fn each_core(polls: usize, since: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
    let cores = super::machine::cores() as f64;
    per_second(polls, since.elapsed()) / cores
}
