//! What the demo shows: steps that turn while they are waited for, bars while mail comes in, plain lines where nobody
//! watches. Colours and movement only on a terminal.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where everything goes: standard output.
pub(super) struct Screen {
    bars: MultiProgress,
    terminal: bool,
    colours: bool,
}

/// Something that takes a moment.
pub(super) struct Step<'a> {
    screen: &'a Screen,
    name: &'static str,
    begun: Instant,
    spinner: Option<ProgressBar>,
}

/// How a piece of text looks, where there are colours.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Bold,
    Faint,
    Good,
    Bad,
    Accent,
}

const WIDTH: usize = 98;

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let target = if terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { bars: MultiProgress::with_draw_target(target), terminal, colours }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(super) fn paint(&self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Bold => "1",
            Look::Faint => "2",
            Look::Good => "32",
            Look::Bad => "1;31",
            Look::Accent => "36",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    #[expect(clippy::print_stdout, reason = "a demo is for looking at")]
    pub(super) fn line(&self, text: &str) {
        self.bars.suspend(|| println!("{text}"));
    }

    pub(super) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(Look::Bold, text)));
    }

    /// Begins a step; what is awaited is shown until it is done.
    pub(super) fn step(&self, name: &'static str, awaited: &str) -> Step<'_> {
        let spinner = self.terminal.then(|| {
            let spinner = self.bars.add(ProgressBar::new_spinner());
            let template = if self.colours {
                "  {spinner:.cyan} {msg} {elapsed:.dim}"
            } else {
                "  {spinner} {msg} {elapsed}"
            };
            spinner.set_style(
                ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_spinner()),
            );
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        });
        let step = Step { screen: self, name, begun: Instant::now(), spinner };
        step.awaits(awaited);
        step
    }

    /// A bar of its own for each of several things.
    pub(super) fn bar(&self, label: &str, length: u64) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(length));
        let template = if self.colours {
            "    {prefix:25} {bar:42.cyan/dim} {pos:>4}/{len:<4} {msg}"
        } else {
            "    {prefix:25} {bar:42} {pos:>4}/{len:<4} {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━━╌"));
        bar.set_prefix(label.to_owned());
        bar.tick();
        bar
    }

    /// What a bar leaves behind when its work is done.
    pub(super) fn full_bar(&self, label: &str, what: &str) {
        let tick = self.paint(Look::Good, "✓");
        let bar = self.paint(Look::Accent, &"━".repeat(if self.terminal { 42 } else { 0 }));
        self.line(&format!("  {tick} {label:<25} {bar} {what}"));
    }

    /// A table of numbers, each row with its name; the last row sums up.
    pub(super) fn table(&self, header: &[&str], rows: &[(String, Vec<String>)]) {
        let widths: Vec<usize> = header.iter().map(|title| title.len() + 2).collect();
        let row = |name: &str, cells: &[String]| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            format!("  {name:<25}{}", cells.collect::<Vec<_>>().concat())
        };
        let header: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
        let rule = format!("  {}", "─".repeat(25 + widths.iter().sum::<usize>()));
        self.line(&self.paint(Look::Faint, &row("", &header)));
        for (at, (name, cells)) in rows.iter().enumerate() {
            let last = at + 1 == rows.len();
            if at == 0 || last {
                self.line(&self.paint(Look::Faint, &rule));
            }
            let row = row(name, cells);
            self.line(&if last { self.paint(Look::Bold, &row) } else { row });
        }
    }
}

impl Step<'_> {
    /// Says what is awaited now.
    pub(super) fn awaits(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("{:<12} {what}", self.name));
        }
    }

    /// Says what came of it.
    pub(super) fn done(self, what: &str) {
        let elapsed = format!("{:.1} s", self.begun.elapsed().as_secs_f64());
        let screen = self.screen;
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
        let mut lines = wrapped(what, WIDTH - 26).into_iter();
        let first = lines.next().unwrap_or_default();
        let tick = screen.paint(Look::Good, "✓");
        let gap = " ".repeat((WIDTH - 26).saturating_sub(first.chars().count()));
        let name = screen.paint(Look::Bold, &format!("{:<12}", self.name));
        screen.line(&format!(
            "  {tick} {name} {first}{gap} {}",
            screen.paint(Look::Faint, &format!("{elapsed:>7}"))
        ));
        for line in lines {
            screen.line(&format!("{:17}{line}", ""));
        }
    }
}

/// A text in lines of at most so many characters, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
