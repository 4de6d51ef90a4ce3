//! Two results side by side: what a change did.

use std::fmt::Write as _;

use serde_json::Value;

/// Fields of a result as lines of a table: name, before, after, after over before. Routers are told apart by name.
pub fn table(before: &Value, after: &Value) -> String {
    let mut rows = Vec::new();
    walk("", before, after, &mut rows);
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default().max(5);
    let mut out = format!("{:<width$} {:>16} {:>16} {:>10}\n", "field", "before", "after", "ratio");
    for (name, before, after) in rows {
        let ratio = match (before.as_f64(), after.as_f64()) {
            (Some(before), Some(after)) if before != 0.0 => format!("{:.3}", after / before),
            _ if before == after => String::from("same"),
            _ => String::from("changed"),
        };
        // A table in memory cannot fail to be written.
        let _written = writeln!(out, "{name:<width$} {:>16} {:>16} {ratio:>10}", shown(&before), shown(&after));
    }
    out
}

fn walk(name: &str, before: &Value, after: &Value, rows: &mut Vec<(String, Value, Value)>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added).filter(|key| *key != "router" || name.is_empty()) {
                let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                walk(&below, before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null), rows);
            }
        }
        (Value::Array(_), Value::Array(_) | Value::Null) | (Value::Null, Value::Array(_)) => {
            let rows_of = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let (old, new) = (rows_of(before), rows_of(after));
            let label = |row: &Value, at: usize| match row.get("router").and_then(Value::as_str) {
                Some(router) => router.to_owned(),
                None => at.to_string(),
            };
            let find = |rows: &[Value], wanted: &str| {
                let found = rows.iter().enumerate().find(|(at, row)| label(row, *at) == wanted);
                found.map_or(Value::Null, |(_, row)| row.clone())
            };
            let mut labels: Vec<String> = old.iter().enumerate().map(|(at, row)| label(row, at)).collect();
            for (at, row) in new.iter().enumerate() {
                if !labels.contains(&label(row, at)) {
                    labels.push(label(row, at));
                }
            }
            for label in labels {
                let below = if name == "routers" { label.clone() } else { format!("{name}.{label}") };
                walk(&below, &find(&old, &label), &find(&new, &label), rows);
            }
        }
        (Value::Object(fields), Value::Null) | (Value::Null, Value::Object(fields)) => {
            for key in fields.keys().filter(|key| *key != "router") {
                let below = format!("{name}.{key}");
                walk(&below, before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null), rows);
            }
        }
        _ => rows.push((name.to_owned(), before.clone(), after.clone())),
    }
}

fn shown(value: &Value) -> String {
    const LONGEST: usize = 16;
    let text = match value {
        Value::Null => String::from("-"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_a_ratio_and_routers_are_found_by_name() {
        let before = json!({"delivered": 100, "trace_hash": "aa", "seed": 1, "wall_s": null,
            "routers": [{"router": "silbo", "delivered": 100}, {"router": "direct", "delivered": 5}]});
        let after = json!({"delivered": 110, "trace_hash": "bb", "seed": 1, "wall_s": null,
            "routers": [{"router": "direct", "delivered": 5}, {"router": "silbo", "delivered": 110}]});
        let table = table(&before, &after);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let has = |line: &[&str]| lines.iter().any(|known| known == line);
        assert!(has(&["delivered", "100", "110", "1.100"]), "{table}");
        assert!(has(&["trace_hash", "aa", "bb", "changed"]), "{table}");
        assert!(has(&["seed", "1", "1", "1.000"]), "{table}");
        assert!(has(&["silbo.delivered", "100", "110", "1.100"]), "{table}");
        assert!(has(&["direct.delivered", "5", "5", "1.000"]), "{table}");
    }

    #[test]
    fn what_is_only_in_one_result_is_shown() {
        let table = table(&json!({"a": 1}), &json!({"routers": [{"router": "silbo", "x": 2}]}));
        assert!(table.contains("silbo.x") && table.contains("changed"), "{table}");
    }
}
