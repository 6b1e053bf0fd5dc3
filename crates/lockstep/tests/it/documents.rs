//! What is generated and committed: a stale copy fails.

use crate::program::{lockstep, run};

#[test]
fn the_printed_configuration_is_the_committed_one() {
    let ended = run(lockstep(&["config"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out, include_str!("../../../../config.default.toml"));
}

#[test]
fn the_printed_openapi_document_is_the_committed_one() {
    let ended = run(lockstep(&["openapi"]));
    assert_eq!(ended.code, 0, "{}", ended.err);
    let committed = include_str!("../../../../docs/openapi.json");
    assert!(
        ended.out.trim_end() == committed.trim_end(),
        "docs/openapi.json is stale: `lockstep openapi > docs/openapi.json`"
    );
}
