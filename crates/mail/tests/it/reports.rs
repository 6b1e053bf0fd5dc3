//! Reports as real servers and programs write them, each with a snapshot of what is read in it, down from the raw bytes.

use std::fmt::Write as _;

use model::automatic::automatic;
use model::report::{Report, report};

#[test]
fn every_report_is_read_as_its_snapshot_says() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports");
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 25, "the reports are there");
    for path in paths {
        let message = mail::mime::parse(&std::fs::read(&path).unwrap(), &mail::mime::Limits::default());
        let name = path.file_stem().unwrap().to_str().unwrap();
        let report = report(&message);
        assert_eq!(report.is_none(), name.starts_with("none_"), "{name}");
        if let Some(report) = &report {
            assert!(
                report.message_ids.iter().any(|id| id == "sent-1@here.example"),
                "{name} finds what was sent"
            );
            let named = |address: &str| report.recipients.iter().any(|one| one.address == address);
            assert!(!named("innocent@there.example") && !named("ada@here.example"), "{name}");
        }
        let kind = automatic(&message).map_or("written by hand", |kind| kind.as_str());
        let shown = format!("{kind}\n{}", report.as_ref().map(shown).unwrap_or_default());
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("report_{name}"), shown);
        });
    }
}

fn shown(report: &Report) -> String {
    let mut shown = format!("{} of {}\n", report.kind, report.message_ids.join(", "));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(shown, "{name}: {value}").unwrap();
        }
    };
    line("envelope id", report.envelope_id.clone());
    line("returned date", report.returned_date.map(|date| date.to_string()));
    line("reporter", report.reporter.clone());
    for one in &report.recipients {
        line(&format!("<{}>", one.address), Some(one.action.to_string()));
        line("  original", one.original.clone());
        line("  status", one.status.clone());
        line("  said", one.said.clone());
    }
    shown
}
