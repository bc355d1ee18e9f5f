//! Sources room, tests: finds the vendors' own records inside the corpus, whose files wrap them in
//! rule tests, recorded answers and intake examples. Never writes; copies nothing out of the
//! corpus.

use std::fs;
use std::path::{Path, PathBuf};

use quell_core::id::Digest;
use serde_json::Value;
use serde_json::value::RawValue;

/// One record of a vendor, as the vendor would have sent it.
pub(crate) struct Item {
    /// The path within the corpus, `#`, and where in the file.
    pub(crate) locator: String,
    /// The bytes of the record.
    pub(crate) raw: Vec<u8>,
    /// The list of the vendor's answer that the record came in.
    pub(crate) list: Option<&'static str>,
}

impl Item {
    /// The digest that the expected results are keyed by.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.raw)
    }

    /// A body with this record alone, inside the list that it came in.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self.list {
            None => self.raw.clone(),
            Some(list) => {
                let raw = std::str::from_utf8(&self.raw).unwrap();
                format!("{{\"{list}\":[{raw}]}}").into_bytes()
            }
        }
    }
}

/// The lists of an answer of the TAP SIEM API.
const TAP_LISTS: [&str; 4] =
    ["clicksPermitted", "clicksBlocked", "messagesDelivered", "messagesBlocked"];

/// The corpus folder, if it is there.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("QUELL_CORPUS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = named.unwrap_or(beside);
    folder.join("MANIFEST.tsv").is_file().then_some(folder)
}

/// Every record of Proofpoint in the corpus: TAP, and PoD, which is another product.
pub(crate) fn proofpoint(corpus: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let at = |name: &str| corpus.join("email/proofpoint").join(name);
    for file in files(&at("elastic-proofpoint-tap")) {
        lines(corpus, &file, Some("clicksPermitted"), &mut items);
    }
    for file in files(&at("panther-proofpoint")) {
        rule_tests(corpus, &file, &mut items);
    }
    for file in files(&at("rapid7-proofpoint_tap/responses")) {
        tap_answer(corpus, &file, &mut items);
    }
    for name in ["sekoia-proofpoint-tap", "sekoia-proofpoint-pod"] {
        for file in files(&at(name)) {
            intake_example(corpus, &file, &mut items);
        }
    }
    items
}

/// Every record of Okta in the corpus.
pub(crate) fn okta(corpus: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let at = |name: &str| corpus.join("identity/okta").join(name);
    for file in files(&at("ocsf-examples")) {
        if file.extension().is_some_and(|e| e == "raw") {
            let text = fs::read_to_string(&file).unwrap();
            items.push(item(corpus, &file, "0", text.trim(), None));
        }
    }
    for file in files(&at("panther-okta")) {
        rule_tests(corpus, &file, &mut items);
    }
    for file in files(&at("rapid7-okta/responses")) {
        if file.file_name().unwrap().to_string_lossy().starts_with("get_logs") {
            let text = fs::read_to_string(&file).unwrap();
            let records: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
            for (i, record) in records.iter().enumerate() {
                items.push(item(corpus, &file, &i.to_string(), record.get(), None));
            }
        }
    }
    for file in files(&at("sekoia-okta-system-logs")) {
        intake_example(corpus, &file, &mut items);
    }
    for file in files(&at("tenzir-okta-ocsf")) {
        if file.extension().is_some_and(|e| e == "ndjson") {
            lines(corpus, &file, None, &mut items);
        }
    }
    items
}

/// Every record of Microsoft Defender in the corpus: advanced hunting tables, alerts, incidents.
pub(crate) fn defender(corpus: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let at = |name: &str| corpus.join("identity/microsoft").join(name);
    let mail = corpus.join("email/microsoft/sekoia-microsoft-365-defender");
    for folder in [mail, at("sekoia-microsoft-365-defender")] {
        for file in files(&folder) {
            intake_example(corpus, &file, &mut items);
        }
    }
    rule_tests(corpus, &at("panther-microsoft/microsoft_graph_passthrough.yml"), &mut items);
    for file in files(&at("panther-microsoft_defender")) {
        rule_tests(corpus, &file, &mut items);
    }
    lines(corpus, &at("tenzir-msgraph-ocsf/defender-incidents.ndjson"), None, &mut items);
    for file in files(&at("rapid7-microsoft_atp/responses")) {
        let text = fs::read_to_string(&file).unwrap();
        items.push(item(corpus, &file, "0", text.trim(), None));
    }
    items
}

/// Every record of Entra ID in the corpus: sign-ins, risks and directory audits.
pub(crate) fn entra_id(corpus: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let at = |name: &str| corpus.join("identity/microsoft").join(name);
    for file in files(&at("panther-azure_signin")) {
        rule_tests(corpus, &file, &mut items);
    }
    for name in ["sekoia-azure-ad", "sekoia-microsoft-entraid-graphapi"] {
        for file in files(&at(name)) {
            intake_example(corpus, &file, &mut items);
        }
    }
    for name in ["directory-audits.ndjson", "sign-ins.ndjson"] {
        lines(corpus, &at("tenzir-msgraph-ocsf").join(name), None, &mut items);
    }
    items
}

/// Every record of the unified audit log in the corpus.
pub(crate) fn m365_audit(corpus: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    for name in [
        "email/microsoft/panther-microsoft/microsoft_exchange_external_forwarding.yml",
        "identity/microsoft/panther-microsoft/microsoft365_external_sharing.yml",
    ] {
        rule_tests(corpus, &corpus.join(name), &mut items);
    }
    for name in ["email/microsoft/sekoia-o365", "identity/microsoft/sekoia-o365"] {
        for file in files(&corpus.join(name)) {
            intake_example(corpus, &file, &mut items);
        }
    }
    for file in files(&corpus.join("mixed/microsoft-365/invictus-ual")) {
        lines(corpus, &file, None, &mut items);
    }
    items
}

/// Files below a folder, sorted by path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn item(corpus: &Path, file: &Path, at: &str, raw: &str, list: Option<&'static str>) -> Item {
    let path = file.strip_prefix(corpus).unwrap().to_string_lossy();
    Item { locator: format!("{path}#{at}"), raw: raw.as_bytes().to_vec(), list }
}

fn lines(corpus: &Path, file: &Path, list: Option<&'static str>, items: &mut Vec<Item>) {
    let text = fs::read_to_string(file).unwrap();
    for (i, line) in text.lines().enumerate() {
        items.push(item(corpus, file, &i.to_string(), line, list));
    }
}

/// `Tests[].Log` of a Panther rule, written as one line of JSON with sorted keys.
fn rule_tests(corpus: &Path, file: &Path, items: &mut Vec<Item>) {
    let text = fs::read_to_string(file).unwrap();
    for document in quell_rules::yaml::documents(&text) {
        let document = document.unwrap();
        let tests = document.value()["Tests"].as_array().unwrap();
        for (i, test) in tests.iter().enumerate() {
            items.push(item(corpus, file, &i.to_string(), &sorted(&test["Log"]), None));
        }
    }
}

/// The lists of one recorded answer of the TAP SIEM API.
fn tap_answer(corpus: &Path, file: &Path, items: &mut Vec<Item>) {
    let text = fs::read_to_string(file).unwrap();
    let answer: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(&text).unwrap();
    for list in TAP_LISTS {
        let Some(records) = answer.get(list) else { continue };
        let records: Vec<&RawValue> = serde_json::from_str(records.get()).unwrap();
        for (i, record) in records.iter().enumerate() {
            let at = format!("{list}[{i}]");
            items.push(item(corpus, file, &at, record.get(), Some(list)));
        }
    }
}

/// `input.message` of an intake example: the record as text.
fn intake_example(corpus: &Path, file: &Path, items: &mut Vec<Item>) {
    let text = fs::read_to_string(file).unwrap();
    let example: Value = serde_json::from_str(&text).unwrap();
    let message = example["input"]["message"].as_str().unwrap();
    items.push(item(corpus, file, "0", message.trim(), None));
}

/// One line of JSON with sorted keys, whatever order the map of this build keeps.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let member = |key: &String| {
                format!("{}:{}", serde_json::to_string(key).unwrap(), sorted(&map[key]))
            };
            format!("{{{}}}", keys.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}
