//! The memory of a real worker process: over a first synchronization of many messages, over one message that is larger than
//! what may be held of it, in and out, and while a thousand cycles wait for a server that says nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::figure::{Line, Target};
use super::house::PASSWORD;
use super::sink::Sink;
use super::{Measured, Trouble, amount};
use crate::{Api, Installation, MailProfile, Mailbox, Process, Servers, within};

/// The size of the large message, in MB.
const LARGE: usize = 100;
/// Cycles that wait at once.
const WAITING: usize = 1000;
/// How long they are looked at.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What a worker may take above what it has when idle.
const LIMIT: Target = Target::AtMost(64.0, "MB");

pub(super) async fn measure() -> Measured {
    let servers = Servers::start().await?;
    let mut lines = growing(&servers).await?;
    lines.extend(waiting(&servers).await?);
    Ok(lines)
}

/// A house with a worker of its own, and everything else in another process.
struct Stage {
    installation: Installation,
    api: Api,
    profile: String,
    worker: Process,
    _rest: Process,
}

impl Stage {
    async fn set(installation: Installation, profile: &MailProfile) -> Self {
        let output = installation.run(&["migrate"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rest = installation.start("scheduler,coordinator,jobs,api");
        installation.ready(&mut rest).await;
        let api = installation.organization("Bench").await;
        let profile = api.profile(profile).await;
        let worker = installation.start("worker");
        Self { installation, api, profile, worker, _rest: rest }
    }

    async fn mailbox(&self, address: &str) -> Mailbox {
        self.installation.servers.mail.add_mailbox(address, PASSWORD);
        let owner = self.api.user(address).await;
        self.api.mailbox(&self.profile, owner, address, PASSWORD).await
    }

    /// Enables a mailbox, and begins at once instead of at its own place within the first interval.
    async fn begin(&self, mailbox: &Mailbox) {
        self.api.enable(mailbox).await;
        self.api.sync(mailbox, "incoming").await;
    }

    /// Waits until so many rows are there.
    async fn expect(&self, what: &str, count: usize) -> Result<(), Trouble> {
        let statement = format!("select count(*) from {what}");
        let count = i64::try_from(count)?;
        let seen = within(PATIENCE, async || {
            let there = self.installation.count(&statement).await;
            if there >= count { Ok(there) } else { Err(format!("{what}: {there} instead of {count}")) }
        });
        match seen.await? {
            there if there == count => Ok(()),
            there => Err(format!("{what}: {there} instead of {count}").into()),
        }
    }
}

async fn growing(servers: &Arc<Servers>) -> Measured {
    let many = usize::try_from(amount(50_000))?;
    let sink = Sink::start().await?;
    let profile = MailProfile::of(&servers.mail)
        .outgoing("localhost", sink.tls, "implicit")
        .with("ca_certificate", format!("{}\n{}", servers.mail.ca_pem(), sink.ca));
    let stage = Stage::set(Installation::on(Arc::clone(servers)).await, &profile).await;
    stage.api.put("/settings/max_message_mb", &json!({"value": 150})).await;
    // One message in and one out first: what the process takes once for all is idle memory.
    let first = stage.mailbox("first@bench.example").await;
    servers.mail.deliver(&first.address, &small(0));
    stage.begin(&first).await;
    stage.expect("emails", 1).await?;
    stage.api.send(&draft(&stage, &first).await, &["sent"]).await;
    let idle = resident(&stage.worker)?;

    let mailbox = stage.mailbox("many@bench.example").await;
    for number in 1..=many {
        servers.mail.deliver(&mailbox.address, &small(number));
    }
    let (before, begun) = (2, Instant::now());
    let peak = Peak::of(&stage.worker)?;
    stage.begin(&mailbox).await;
    within(PATIENCE, async || match stage.installation.count("select count(*) from emails").await {
        there if there >= before + i64::try_from(many / 2).unwrap_or_default() => Ok(()),
        there => Err(format!("{there} emails")),
    })
    .await?;
    let half = peak.taken()?;
    let peak = Peak::of(&stage.worker)?;
    stage.expect("emails", 2 + many).await?;
    let all = peak.taken()?;
    let took = begun.elapsed().as_secs_f64();

    let mailbox = stage.mailbox("large@bench.example").await;
    servers.mail.deliver(&mailbox.address, &large());
    let peak = Peak::of(&stage.worker)?;
    stage.begin(&mailbox).await;
    stage.expect("emails", 3 + many).await?;
    let incoming = peak.taken()?;
    stage.expect(&format!("blobs where size >= {LARGE}000000"), 1).await?;

    sink.take();
    let email = draft(&stage, &first).await;
    let path = format!("/emails/{email}/attachments?name=large.bin");
    let file = vec![b'x'; LARGE * 1_000_000];
    let uploaded = stage.api.upload(&path, "application/octet-stream", file).await;
    if !uploaded.status.is_success() {
        return Err(format!("the file was refused: {}", uploaded.body).into());
    }
    let peak = Peak::of(&stage.worker)?;
    stage.api.ask_to_send(&email).await;
    stage.expect("emails where state = 'sent'", 2).await?;
    let outgoing = peak.taken()?;
    let taken = sink.take();
    if taken.messages != 1 || taken.bytes < LARGE * 1_000_000 * 4 / 3 {
        return Err(format!("{} messages of {} bytes were received", taken.messages, taken.bytes).into());
    }

    let above = |peak: u64| megabytes(peak.saturating_sub(idle));
    let line = |name: String, peak: u64| Line::new(name, above(peak), "MB").reaching(LIMIT);
    Ok(vec![
        Line::new("a worker's memory, idle", megabytes(idle), "MB"),
        line(format!("– above it, first synchronization of {many} messages, first half"), half),
        line("– above it, second half".to_owned(), all),
        Line::new("– for which it took", took, "s"),
        line(format!("– above it, a message of {LARGE} MB in"), incoming),
        line(format!("– above it, a message of {LARGE} MB out"), outgoing),
    ])
}

/// A short email to nobody in particular.
async fn draft(stage: &Stage, from: &Mailbox) -> String {
    let draft = json!({
        "from": from.id,
        "to": [{"address": "reader@elsewhere.example"}],
        "subject": "With a file",
        "text": "See what is attached.",
    });
    stage.api.post("/emails", &draft).await.id()
}

async fn waiting(servers: &Arc<Servers>) -> Measured {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let port = silent.local_addr()?.port();
    let _listening = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    }));
    let installation = Installation::on(Arc::clone(servers)).await;
    // One profile gets a quarter of all slots at most.
    let installation = installation
        .with("worker.slots_for_sends_percent", 0)
        .with("worker.slots", 4 * i64::try_from(WAITING)?)
        .with("worker.workloads", vec!["incoming"])
        .with("cycle.phase_seconds", 300);
    let profile = MailProfile::of(&servers.mail)
        .incoming("localhost", port, "implicit")
        .with("connect_timeout_ms", 100_000)
        .with("max_in_flight", WAITING);
    let stage = Stage::set(installation, &profile).await;
    for number in 0..WAITING {
        let address = format!("waits{number}@bench.example");
        let owner = stage.api.user(&address).await;
        stage.api.mailbox(&stage.profile, owner, &address, PASSWORD).await;
    }
    let idle = resident(&stage.worker)?;
    // A test would wait as well: they are switched on as after one that succeeded.
    for statement in [
        "update mailbox_workloads set enabled = true, test_result = 'success' where workload = 'incoming'",
        "update schedules set due_at = now(), due_reason = 'enabled' where workload = 'incoming'",
    ] {
        let changed = stage.installation.execute(statement).await;
        if usize::try_from(changed)? != WAITING {
            return Err(format!("{changed} rows instead of {WAITING}: {statement}").into());
        }
    }
    let running = "schedules where state = 'running'";
    stage.expect(running, WAITING).await?;
    let (peak, before, begun) = (Peak::of(&stage.worker)?, spent(&stage.worker)?, Instant::now());
    tokio::time::sleep(LOOKED_AT).await;
    let busy = (spent(&stage.worker)? - before) / begun.elapsed().as_secs_f64();
    let taken = peak.taken()?;
    stage.expect(running, WAITING).await?;
    Ok(vec![
        Line::new(
            format!("a worker's memory with {WAITING} cycles that wait for a slow server"),
            megabytes(taken),
            "MB",
        )
        .reaching(Target::AtMost(200.0, "MB")),
        Line::new("– of which it had when idle", megabytes(idle), "MB"),
        Line::new("– what they take of a core", 100.0 * busy, "% of a core")
            .reaching(Target::AtMost(5.0, "% of a core")),
    ])
}

fn small(number: usize) -> Vec<u8> {
    format!(
        "Message-ID: <{number}@many.example>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\n\
         From: Sender <sender{number}@elsewhere.example>\r\nTo: <many@bench.example>\r\n\
         Subject: Message {number}\r\n\r\n{}",
        "A line of text that says little, as most lines do.\r\n".repeat(20)
    )
    .into_bytes()
}

fn large() -> Vec<u8> {
    let mut message = b"Message-ID: <large@many.example>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\n\
        From: Sender <sender@elsewhere.example>\r\nTo: <large@bench.example>\r\nSubject: Large\r\n\r\n"
        .to_vec();
    let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
    while message.len() < LARGE * 1_000_000 {
        message.extend_from_slice(&line);
    }
    message
}

/// The most that a process has of memory from now on, which Linux keeps itself.
struct Peak(u32);

impl Peak {
    fn of(process: &Process) -> Result<Self, Trouble> {
        let id = process.id().ok_or("the worker has ended")?;
        // proc(5), `clear_refs`: 5 begins `VmHWM` anew.
        std::fs::write(format!("/proc/{id}/clear_refs"), "5")?;
        Ok(Self(id))
    }

    fn taken(&self) -> Result<u64, Trouble> {
        memory(self.0, "VmHWM:")
    }
}

fn resident(process: &Process) -> Result<u64, Trouble> {
    memory(process.id().ok_or("the worker has ended")?, "VmRSS:")
}

/// What a process has of memory, in bytes: proc(5).
fn memory(id: u32, field: &str) -> Result<u64, Trouble> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kilobytes: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// The processor time of a process so far, in seconds, of which Linux counts hundredths.
fn spent(process: &Process) -> Result<f64, Trouble> {
    let id = process.id().ok_or("the worker has ended")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a process's memory is far below 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
