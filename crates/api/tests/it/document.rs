//! The OpenAPI document: committed, parseable, and the law of who may do what.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::api;

fn committed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_committed_document_is_the_one_that_the_code_makes() {
    let path = committed("openapi.json");
    let made = api::openapi_json();
    if std::fs::read_to_string(&path).is_ok_and(|present| present == made) {
        return;
    }
    std::fs::write(&path, made).unwrap();
    panic!("docs/openapi.json was stale; the new one is written there: look at it and commit it");
}

#[test]
fn the_document_is_openapi_3_1_and_says_something_about_every_operation() {
    let document: serde_json::Value = serde_json::from_str(&api::openapi_json()).unwrap();
    let version = document["openapi"].as_str().unwrap();
    assert!(version.starts_with("3.1."), "{version}");
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 100, "{}", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("nothing outside of the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(
                operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
                "{name}: no summary"
            );
            assert!(
                operation["security"].is_array(),
                "{name}: no right is named, so it is closed to everybody"
            );
            assert!(operation["responses"]["default"].is_object(), "{name}: no problem is named");
            assert!(ids.insert(operation["operationId"].clone()), "{name}: its operationId is another's too");
        }
    }
}

#[test]
fn every_operation_asks_for_a_right_and_no_other_than_was_agreed() {
    let mut table = String::new();
    for (path, method, right) in api::route_table() {
        writeln!(table, "{right:<12} {method:<7} {path}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn no_answer_has_a_field_for_a_secret() {
    let document: serde_json::Value = serde_json::from_str(&api::openapi_json()).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let text = schema.to_string();
        // A new key is shown once; a credential only goes in.
        if matches!(name.as_str(), "NewCredential" | "NewApplication" | "CreatedKey") {
            continue;
        }
        for word in ["password", "secret", "client_secret", "sealed", "token", "hash"] {
            assert!(!text.contains(&format!("\"{word}\":")), "{name} has {word}");
        }
    }
}

fn collect_references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(members) => {
            found.extend(members.get("$ref").and_then(serde_json::Value::as_str));
            members.values().for_each(|member| collect_references(member, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}
