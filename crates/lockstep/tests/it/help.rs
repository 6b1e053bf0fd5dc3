//! The help of every command, as committed: whoever changes a word of it sees it in review.

use crate::program::{lockstep, run};

/// The help of a command.
fn help(path: &[&str]) -> String {
    let mut arguments = path.to_vec();
    arguments.push("--help");
    let ended = run(lockstep(&arguments));
    assert_eq!(ended.code, 0, "{path:?}: {}", ended.err);
    ended.out
}

/// The commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A name stands two spaces in; the rest of a long sentence further.
    let names =
        listed.filter_map(|line| line.strip_prefix("  ")?.split_once(' ').map(|(name, _)| name.to_owned()));
    names.filter(|name| !name.is_empty() && name != "help").collect()
}

/// A command and all below it, each with its help.
fn walk(path: &[&str], all: &mut Vec<(Vec<String>, String)>) {
    let text = help(path);
    let names = commands(&text);
    all.push((path.iter().map(|name| (*name).to_owned()).collect(), text));
    for name in &names {
        let mut below = path.to_vec();
        below.push(name);
        walk(&below, all);
    }
}

#[test]
fn every_command_has_the_committed_help() {
    let mut all = Vec::new();
    walk(&[], &mut all);
    assert!(all.len() > 60, "only {} commands were found", all.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        // One file per noun: a page, not a book.
        for noun in all.chunk_by(|(one, _), (next, _)| !one.is_empty() && one.first() == next.first()) {
            let name = noun[0].0.first().map_or("lockstep", String::as_str);
            let pages =
                noun.iter().map(|(path, text)| format!("$ lockstep {} --help\n{text}", path.join(" ")));
            insta::assert_snapshot!(format!("help_{name}"), pages.collect::<Vec<_>>().join("\n\n"));
        }
    });
}

#[test]
fn every_argument_and_every_command_has_a_sentence() {
    let mut all = Vec::new();
    walk(&[], &mut all);
    for (path, text) in all {
        let first = text.lines().next().unwrap_or_default();
        assert!(!first.is_empty() && !first.starts_with("Usage:"), "{path:?} has no sentence");
        let lines: Vec<_> = text.lines().collect();
        let mut among_arguments = false;
        for (place, line) in lines.iter().enumerate() {
            if !line.is_empty() && !line.starts_with(' ') {
                among_arguments = matches!(*line, "Arguments:" | "Options:");
            }
            let argument = line.trim_start();
            // Deeper in stands the text of sentences.
            let is_first = line.len() - argument.len() <= 6;
            if among_arguments && is_first && (argument.starts_with('-') || argument.starts_with('<')) {
                // In the long form the sentence stands below, in the short form behind.
                let behind =
                    argument.split_once("  ").is_some_and(|(_, sentence)| !sentence.trim().is_empty());
                let below = lines.get(place + 1).is_some_and(|next| next.starts_with("          "));
                assert!(behind || below, "{path:?}: `{argument}` has no sentence");
            }
        }
    }
}
