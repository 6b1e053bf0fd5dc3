//! A mistake in the configuration ends every command before anything is opened: exit code 64, with the key, what is wrong
//! with its value, and the remedy.

use crate::program::{Ended, lockstep, run};

fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = lockstep(arguments);
    command.envs(variables.iter().copied());
    run(command)
}

#[track_caller]
fn refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, 64, "{}", ended.err);
    for part in parts.iter().chain(&["what to do:"]) {
        assert!(ended.err.contains(part), "`{part}` is missing in:\n{}", ended.err);
    }
    assert!(ended.out.is_empty(), "{}", ended.out);
}

#[test]
fn a_missing_installation_id_is_said_with_a_new_one() {
    for command in ["scheduler", "api", "worker", "jobs", "coordinator", "run", "migrate"] {
        let ended = with(&[], &[command]);
        refused(&ended, &["`installation.id`", "LOCKSTEP__INSTALLATION__ID", "it is empty", "a new one: "]);
    }
    let ended = with(&[("LOCKSTEP__INSTALLATION__ID", "the first")], &["scheduler"]);
    refused(&ended, &["`installation.id`", "`the first` is not a UUID"]);
}

#[test]
fn a_number_that_is_none_is_said_with_its_key() {
    let ended = with(&[("LOCKSTEP__PROCESS__DRAIN_SECONDS", "soon")], &["scheduler"]);
    refused(&ended, &["`process.drain_seconds`", "LOCKSTEP__PROCESS__DRAIN_SECONDS", "soon"]);
}

#[test]
fn an_unknown_key_is_said_with_its_name() {
    let ended = with(&[("LOCKSTEP__PROCESS__DRAIN_SECOND", "5")], &["status"]);
    refused(&ended, &["drain_second", "lockstep config"]);
}

#[test]
fn a_file_that_cannot_be_read_is_said_with_its_path() {
    let ended = with(&[], &["--config", "/nowhere/lockstep.toml", "status"]);
    refused(&ended, &["/nowhere/lockstep.toml", "--config", "LOCKSTEP_CONFIG"]);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockstep.toml");
    std::fs::write(&file, "[process\n").unwrap();
    refused(&with(&[], &["--config", file.to_str().unwrap(), "status"]), &["process"]);
}

#[test]
fn an_address_of_the_api_that_is_none_is_said_before_anything_is_sent() {
    let key = ("LOCKSTEP__CLIENT__KEY", "lk_secret");
    let ended = with(&[key, ("LOCKSTEP__CLIENT__URL", "here")], &["status"]);
    refused(&ended, &["`client.url`", "LOCKSTEP__CLIENT__URL"]);
    let ended = with(&[key, ("LOCKSTEP__CLIENT__URL", "ftp://here")], &["status"]);
    refused(&ended, &["`client.url`", "`ftp` is neither http nor https"]);
    let ended = with(&[key, ("LOCKSTEP__CLIENT__CA_FILE", "/nowhere/ca.pem")], &["status"]);
    refused(&ended, &["`client.ca_file`", "/nowhere/ca.pem"]);
    assert!(!ended.err.contains("lk_secret"), "a key is never repeated: {}", ended.err);
}

#[test]
fn without_a_key_the_commands_say_how_to_give_one() {
    let ended = with(&[], &["mailbox", "list"]);
    assert_eq!(ended.code, 1);
    for part in ["no API key", "LOCKSTEP__CLIENT__KEY", "organization create"] {
        assert!(ended.err.contains(part), "{}", ended.err);
    }
}

#[test]
fn an_api_that_is_not_there_is_said_with_its_address() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let ended = with(&[("LOCKSTEP__CLIENT__KEY", "lk_secret"), ("LOCKSTEP__CLIENT__URL", &url)], &["status"]);
    assert_eq!(ended.code, 1);
    for part in [url.as_str(), "cannot be reached", "client.url", "lockstep api"] {
        assert!(ended.err.contains(part), "`{part}` is missing in: {}", ended.err);
    }
    assert!(!ended.err.contains("lk_secret"), "a key is never repeated: {}", ended.err);
}
