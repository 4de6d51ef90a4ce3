//! `docs/schema.json` is what the method table says. `SILBO_BLESS=1` writes it anew.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use silbo_node::api;

#[test]
fn the_checked_in_schema_is_the_one_of_the_method_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.json");
    let made = api::schema();
    if std::env::var_os("SILBO_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&made).expect("JSON");
        std::fs::write(&path, text + "\n").expect("write the schema");
    }
    let text = std::fs::read_to_string(&path).expect("docs/schema.json is checked in");
    let written: Value = serde_json::from_str(&text).expect("docs/schema.json is JSON");
    let mut differences = Vec::new();
    collect_differences(&written, &made, String::new(), &mut differences);
    assert!(differences.is_empty(), "run this test with SILBO_BLESS=1 and look at what changed: {differences:#?}");
}

#[test]
fn every_reference_in_the_schema_leads_somewhere() {
    let schema = api::schema();
    let mut references = Vec::new();
    collect_references(&schema, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(schema.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_parameter_and_field_is_explained() {
    let schema = api::schema();
    for method in schema["methods"].as_array().expect("methods") {
        assert!(method["summary"].as_str().is_some_and(|text| !text.is_empty()));
        for parameter in method["params"].as_array().expect("parameters") {
            assert!(parameter["schema"]["description"].is_string(), "{} {}", method["name"], parameter["name"]);
        }
    }
}

fn collect_differences(written: &Value, made: &Value, place: String, differences: &mut Vec<String>) {
    match (written, made) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let (old, new) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
                collect_differences(old, new, format!("{place}/{key}"), differences);
            }
        }
        _ if written != made => differences.push(place),
        _ => {}
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, references)),
        _ => {}
    }
}
