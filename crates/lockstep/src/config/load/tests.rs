//! The configuration as people get it wrong and right: every mistake names its key and its remedy.

use super::*;

fn with(variables: &[(&str, &str)]) -> Result<Config, Problem> {
    load(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn the_defaults_are_a_whole_configuration() {
    let config = with(&[]).unwrap();
    assert!(config.network.allow.is_empty(), "private networks are closed by default");
    assert!(config.installation_id().is_err(), "an installation chooses its own id");
}

#[test]
fn every_key_of_the_defaults_has_a_comment() {
    let mut commented = false;
    for line in DEFAULTS.lines() {
        if line.trim_start().starts_with('#') {
            commented = true;
        } else if line.contains(" = ") {
            // Keys that belong together stand under one comment.
            assert!(commented, "no comment above: {line}");
        } else {
            commented = line.starts_with('[') && commented;
        }
    }
}

#[test]
fn the_environment_passes_over_the_file_and_the_file_over_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockstep.toml");
    std::fs::write(&file, "[process]\ndrain_seconds = 7\n[client]\nurl = \"http://file\"\n").unwrap();
    let variables = vec![("LOCKSTEP__CLIENT__URL".to_owned(), "http://environment".to_owned())];
    let config = load(Some(&file), variables).unwrap();
    assert_eq!(config.process.drain_seconds, 7);
    assert_eq!(config.client.url, "http://environment");
}

#[test]
fn a_token_of_digits_stays_as_it_was_given() {
    let config =
        with(&[("LOCKSTEP__THROTTLE__TOKEN", "00123456"), ("LOCKSTEP__PROCESS__DRAIN_SECONDS", "8")])
            .unwrap();
    assert_eq!(model::secret::ExposeSecret::expose_secret(&config.throttle.token), "00123456");
    assert_eq!(config.process.drain_seconds, 8);
}

#[test]
fn networks_come_as_a_list_from_the_environment() {
    let config = with(&[("LOCKSTEP__NETWORK__ALLOW", "127.0.0.0/8,10.0.0.0/8")]).unwrap();
    assert_eq!(config.network.allow.len(), 2);
}

#[test]
fn a_mistake_names_its_key_its_variable_and_the_remedy() {
    let problem = with(&[("LOCKSTEP__PROCESS__DRAIN_SECONDS", "soon")]).unwrap_err();
    assert_eq!(problem.key, "process.drain_seconds");
    let text = problem.to_string();
    assert!(text.contains("LOCKSTEP__PROCESS__DRAIN_SECONDS") && text.contains("what to do"), "{text}");

    let unknown = with(&[("LOCKSTEP__PROCESS__DRAIN_SECOND", "5")]).unwrap_err().to_string();
    assert!(unknown.contains("drain_second"), "{unknown}");
    assert!(
        with(&[("LOCKSTEP__NETWORK__ALLOW", "everything")]).unwrap_err().key.starts_with("network.allow")
    );
}

#[test]
fn a_mistake_beside_a_secret_does_not_show_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockstep.toml");
    for text in [
        "[coordinator]\ntoken = \"hunter2\nlease_millis = 1\n",
        "[coordinator]\ntoken = hunter2\n",
        "[coordinator]\ntoken = [\"hunter2\"]\n",
        "[coordinator]\ntoken = { hunter2 = 1 }\n",
        "[coordinator]\ntoken = \"a\"\ntoken = \"hunter2\"\n",
        "coordinator = \"hunter2\"\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let problem = load(Some(&file), Vec::new()).unwrap_err().to_string();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
