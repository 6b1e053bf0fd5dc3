//! The demo: real mail travels in and out through a whole installation, while one looks on. Everything it shows is
//! measured, and held against the servers at the end; nothing is pretended.

mod checks;
mod corpus;
mod exchange;
mod incoming;
mod letter;
mod office;
mod round;
mod screen;
mod stage;
mod summary;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

use checks::Checks;
use corpus::{Corpus, PEOPLE};
use office::Office;
use screen::{Look, Screen};
use stage::Stage;

/// Names the messages of the demo: always the same.
const SEED: u64 = 20_261_122;

/// Runs the demo. `once` ends it after the summary: successfully when everything that it shows came true. Otherwise it
/// runs on until it is told to end.
///
/// # Panics
/// When signals cannot be listened for or no directory can be made.
pub async fn run(once: bool) -> ExitCode {
    let screen = Screen::new();
    let directory = tempfile::Builder::new().prefix("lockstep-demo.").tempdir().expect("a directory");
    // What went wrong is told once, at the end, and not in the words of a panic.
    std::panic::set_hook(Box::new(|_| {}));
    let story = AssertUnwindSafe(story(&screen, directory.path(), once)).catch_unwind();
    let told = tokio::select! {
        told = story => told.unwrap_or_else(|panic| Err(words(panic.as_ref()))),
        () = interrupted() => {
            screen.line("\nInterrupted: everything that was started is ended.");
            return ExitCode::from(130);
        }
    };
    let told = match told {
        Ok((mut stage, agreed)) => {
            if !once {
                let hint = "Running. Ctrl-C ends everything and leaves nothing behind.";
                screen.line(&format!("\n{}", screen.paint(Look::Bold, hint)));
                interrupted().await;
            }
            end(&mut stage, &screen).await.and(if agreed { Ok(()) } else { Err("see above".to_owned()) })
        }
        Err(why) => Err(why),
    };
    let Err(why) = told else { return ExitCode::SUCCESS };
    screen.line(&format!("\n{} {why}", screen.paint(Look::Bad, "✗ The demo did not come true:")));
    screen.line(&format!("  The logs stay in {}.", directory.keep().display()));
    ExitCode::FAILURE
}

/// Ends the processes in good order; told again, at once.
async fn end(stage: &mut Stage<'_>, screen: &Screen) -> Result<(), String> {
    screen.line("");
    let step = screen.step("End", "letting what is under way finish");
    let complaints = tokio::select! {
        complaints = stage.stop() => complaints,
        () = interrupted() => vec!["it was interrupted while it ended".to_owned()],
    };
    if !complaints.is_empty() {
        return Err(complaints.join("; "));
    }
    step.done("every process ended in good order");
    Ok(())
}

/// From nothing to the summary. Says whether everything agreed.
async fn story<'a>(screen: &Screen, directory: &'a Path, once: bool) -> Result<(Stage<'a>, bool), String> {
    screen.heading("Lockstep: real mail through real servers, in and out");
    let made = tokio::task::spawn_blocking(|| Corpus::new(SEED, model::clock::now()));
    let mut stage = Stage::open(directory, screen).await?;
    let step = screen.step("Schema", "migrating the database");
    let migrated = stage.command(&["migrate"]).await?;
    let applied = migrated.lines().filter(|line| line.starts_with("Applied")).count();
    step.done(&format!("`lockstep migrate`: {applied} migrations applied"));
    stage.start(screen).await?;
    let corpus = made.await.map_err(|error| error.to_string())?;
    let office = Office::open(&mut stage, &corpus, screen).await?;
    let expected = deliver(&stage, &office, &corpus, screen);
    office.enable(screen).await?;

    screen.heading("Mail comes in");
    let sql = stage::sql(&stage.servers).await?;
    let arrival = incoming::watch(&office, &expected, &sql, screen).await?;

    screen.heading("Mail goes out");
    let letter = letter::send(&office, &stage.servers.mail, corpus::offer(), screen).await?;
    let round = round::go(&office, &sql, screen).await?;

    let step = screen.step("Check", "comparing what is recorded with what lies on the servers");
    let mut checks = Checks::default();
    let (figures, records) =
        checks::all(&mut stage, &office, &corpus, (&letter, &round), &sql, &mut checks).await?;
    step.done(&format!("{} comparisons", checks.passed + checks.mismatches.len()));

    screen.heading("An Exchange mailbox beside them");
    stage.exchange = Some(exchange::act(&office, &sql, screen, &mut checks).await?);
    summary::show(screen, (&office, &stage), (&figures, records), (&arrival, &letter, &round), &checks);
    if !once {
        summary::doors(screen, &office, &stage);
    }
    Ok((stage, checks.mismatches.is_empty()))
}

/// Puts the corpus into the mailboxes, and says how many messages lie in each.
fn deliver(stage: &Stage<'_>, office: &Office, corpus: &Corpus, screen: &Screen) -> Vec<u64> {
    let step = screen.step("Mailboxes", "filling them");
    let mut bytes = 0;
    for sample in &corpus.samples {
        for place in &sample.mailboxes {
            let raw = sample.delivered_to(*place);
            bytes += raw.len();
            stage.servers.mail.deliver(&office.mailboxes[*place].address, &raw);
        }
    }
    let counts: Vec<u64> = (0..PEOPLE.len()).map(|place| corpus.messages_of(place) as u64).collect();
    step.done(&format!(
        "{} messages, {:.1} MB, since {}, in {}",
        counts.iter().sum::<u64>(),
        f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6,
        corpus.floor().strftime("%-d %B"),
        corpus.charsets().join(", ")
    ));
    counts
}

/// Ctrl-C, or what a supervisor sends.
async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal can be listened for");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("something went wrong that has no words").to_owned()
}
