//! Binary room, the description of both listeners (OpenAPI 3.1), made from the table of routes and
//! from the hand-kept schemas beside it. Answers no request.

use serde_json::{Map, Value, json};

use super::listen::{HEAD_BYTES_MAX, HEADERS_MAX};
use super::routes::{Gives, Listener, Name, ROUTES, Route, Takes, Who};

/// Schemas, security schemes and words about the whole.
const BASE: &str = include_str!("../../assets/openapi.json");

/// The description. The same program always gives the same.
pub(crate) fn description() -> Value {
    let mut whole: Value = serde_json::from_str(BASE).unwrap_or(Value::Null);
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let at = paths.entry(route.path).or_insert_with(|| json!({}));
        let server = server(route.listener);
        match at.get_mut(route.verb.name()) {
            // The same question to both listeners is described once.
            Some(known) => {
                join(known, "tags", json!(route.listener.name()));
                join(known, "servers", server);
                merge_answers(known, answers(route));
            }
            None => set(at, route.verb.name(), operation(route, &server)),
        }
    }
    set(&mut whole, "paths", Value::Object(paths));
    whole
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value);
    }
}

fn join(object: &mut Value, key: &str, value: Value) {
    if let Some(Value::Array(list)) = object.get_mut(key) {
        list.push(value);
    }
}

fn merge_answers(operation: &mut Value, more: Map<String, Value>) {
    if let Some(Value::Object(known)) = operation.get_mut("responses") {
        more.into_iter().for_each(|(status, answer)| {
            known.entry(status).or_insert(answer);
        });
    }
}

fn server(listener: Listener) -> Value {
    let port = match listener {
        Listener::Intake => 8470,
        Listener::Control => 8471,
    };
    let text = format!("the {} listener, as `quell init` sets it", listener.name());
    json!({ "url": format!("http://127.0.0.1:{port}"), "description": text })
}

fn operation(route: &Route, server: &Value) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route.name),
        "summary": route.summary,
        "tags": [route.listener.name()],
        "servers": [server],
        "parameters": parameters(route),
        "responses": answers(route),
        "security": [],
    });
    match route.who {
        Who::Anybody => {}
        Who::Token(least) => {
            set(&mut operation, "security", json!([{ "token": [] }]));
            set(&mut operation, "x-least-role", json!(least.name()));
        }
        Who::Source => {
            let ways = json!([
                { "bearer": [] },
                { "quellSignature": [], "quellTimestamp": [] },
                { "webhookId": [], "webhookTimestamp": [], "webhookSignature": [] },
            ]);
            set(&mut operation, "security", ways);
        }
    }
    let body = match route.takes {
        Takes::Nothing => return operation,
        Takes::Json(schema) => json!({ "required": true, "content": json_of(schema) }),
        Takes::PerhapsJson(schema) => json!({ "required": false, "content": json_of(schema) }),
        Takes::Records => json!({ "$ref": "#/components/requestBodies/Records" }),
    };
    set(&mut operation, "requestBody", body);
    operation
}

/// The name of a route with a small first letter.
fn operation_id(name: Name) -> String {
    let text = format!("{name:?}");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn json_of(schema: &str) -> Value {
    json!({ "application/json": { "schema": reference(schema) } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn parameters(route: &Route) -> Vec<Value> {
    let named = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let in_path = match (route.parameter(), route.name) {
        (None, _) => None,
        (Some(_), Name::Take | Name::Challenge) => Some(named("source")),
        (Some(_), Name::Approve | Name::Deny | Name::Undo) => Some(named("order")),
        (Some(_), Name::CloseCase) => Some(named("case")),
        (Some(_), Name::Erasure) => Some(named("identity")),
        (Some(_), Name::Watchlist) => Some(named("kind")),
        (Some(_), _) => Some(named("id")),
    };
    let query: &[&str] = match route.name {
        Name::Records => &["ref", "type", "from"],
        _ => &[],
    };
    in_path.into_iter().chain(query.iter().map(|name| named(name))).collect()
}

fn answers(route: &Route) -> Map<String, Value> {
    let content = match route.gives {
        Gives::Json(schema) => json_of(schema),
        Gives::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Gives::Bytes => json!({ "application/octet-stream": {} }),
        Gives::OpenMetrics => {
            json!({ "application/openmetrics-text": { "schema": { "type": "string" } } })
        }
    };
    let good = json!({ "description": route.summary, "content": content });
    let mut all: Map<String, Value> = [(route.success().to_string(), good)].into_iter().collect();
    for status in route.refusals() {
        all.insert(status.to_string(), refusal(status));
    }
    all
}

/// An answer that is no success. 429 and 503 say when to come again.
fn refusal(status: u16) -> Value {
    let text = match status {
        400 => "the path, the query or the body is not valid",
        401 => "no valid token, or no proof that fits",
        403 => "the token's role may not do this",
        404 => "there is no such thing",
        405 => "this path has no such method",
        408 => "the body did not come in time",
        409 => "as things stand this is not possible",
        413 => "the body is too large",
        415 => "the body must come as `application/json`",
        429 => "too fast",
        431 => {
            let text = format!(
                "the head is over {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers; no body"
            );
            return json!({ "description": text });
        }
        _ => "busy, or the store does not commit",
    };
    let mut answer = json!({ "description": text, "content": json_of("Error") });
    if status == 429 {
        let header = json!({ "required": true, "schema": { "type": "integer", "minimum": 1 } });
        set(&mut answer, "headers", json!({ "Retry-After": header }));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed description is what the program serves. `UPDATE_EXPECT=1` writes it anew.
    #[test]
    fn the_committed_description_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let text = serde_json::to_string_pretty(&description()).unwrap() + "\n";
        expect_test::expect_file![path].assert_eq(&text);
    }

    /// Every reference leads somewhere, and nothing stands there that is not referred to.
    #[test]
    fn every_reference_leads_somewhere() {
        let whole = description();
        let text = whole.to_string();
        let mut found = 0;
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(whole.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > 30, "{found}");
        for group in ["schemas", "parameters", "requestBodies"] {
            let all = whole.pointer(&format!("/components/{group}")).unwrap();
            for name in all.as_object().unwrap().keys() {
                let pointer = format!("\"#/components/{group}/{name}\"");
                assert!(text.contains(&pointer), "nobody refers to {pointer}");
            }
        }
    }
}
