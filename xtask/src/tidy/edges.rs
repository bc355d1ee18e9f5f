//! Which crate may depend on which. A new edge is a reviewed change of this table, because the
//! walls are the design: one room reads attackers' bytes, one holds administrators' credentials.

use serde_json::Value;

use super::Finding;

/// Every crate and what it may depend on of ours; what is not listed is forbidden.
const EDGES: &[(&str, &[&str])] = &[
    (
        "quell",
        &[
            "quell-core",
            "quell-evidence",
            "quell-lab",
            "quell-rules",
            "quell-run",
            "quell-sources",
            "quell-store",
            "quell-targets",
        ],
    ),
    ("quell-core", &["quell-evidence", "quell-rules"]),
    ("quell-evidence", &[]),
    ("quell-lab", &["quell-core"]),
    ("quell-rules", &[]),
    (
        "quell-run",
        &[
            "quell-core",
            "quell-evidence",
            "quell-rules",
            "quell-sources",
            "quell-store",
            "quell-targets",
        ],
    ),
    (
        SIMULATION,
        &[
            "quell-core",
            "quell-evidence",
            "quell-rules",
            "quell-run",
            "quell-sources",
            "quell-store",
            "quell-targets",
        ],
    ),
    ("quell-sources", &["quell-core", "quell-rules"]),
    ("quell-store", &["quell-core", "quell-evidence"]),
    ("quell-targets", &["quell-core"]),
    ("xtask", &[]),
];

/// Edges that exist in tests alone: the lab's provider is proved by the target that calls it.
const TESTED_AGAINST: &[(&str, &str)] = &[("quell-lab", "quell-targets")];

/// The simulation is for tests only: others may name it among their dev-dependencies, nowhere else.
const SIMULATION: &str = "quell-sim";

/// Every dependency of a member on a member is in the table.
pub(super) fn edges(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members = members(metadata);
    for package in packages(metadata) {
        let name = text(package, "name");
        let Some((_, allowed)) = EDGES.iter().find(|(member, _)| *member == name) else {
            findings.push(Finding::about(name, "is not in the table of crate edges"));
            continue;
        };
        for dependency in array(package, "dependencies") {
            let to = text(dependency, "name");
            let dev = text(dependency, "kind") == "dev";
            let listed = allowed.contains(&to)
                || (dev && to == SIMULATION && name != "xtask")
                || (dev && TESTED_AGAINST.contains(&(name, to)));
            if members.contains(&to) && !listed {
                let kind = if dev { "a dev-dependency" } else { "a dependency" };
                findings.push(Finding::about(
                    name,
                    format!("has {kind} on `{to}`, which is not in the table of crate edges"),
                ));
            }
        }
    }
    findings
}

/// A crate lies in the folder of its name, under `crates/`, xtask at the root; the binary is built
/// by default.
pub(super) fn folders(metadata: &Value) -> Vec<Finding> {
    let root = text(metadata, "workspace_root");
    let mut findings = Vec::new();
    for package in packages(metadata) {
        let name = text(package, "name");
        let path = text(package, "manifest_path");
        let expected = match name {
            "xtask" => format!("{root}/xtask/Cargo.toml"),
            _ => format!("{root}/crates/{name}/Cargo.toml"),
        };
        if path != expected {
            findings.push(Finding::about(name, "lies in a folder that is not called as it is"));
        }
    }
    let default = array(metadata, "workspace_default_members");
    let ids: Vec<&str> = default.iter().filter_map(Value::as_str).collect();
    if ids.len() != 1 || !ids.iter().all(|id| id.contains("/crates/quell#")) {
        findings.push(Finding::about("Cargo.toml", "default-members must be `crates/quell` alone"));
    }
    findings
}

/// The names of all members.
pub(super) fn members(metadata: &Value) -> Vec<&str> {
    packages(metadata).map(|package| text(package, "name")).collect()
}

/// The members, as cargo describes them.
pub(super) fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    array(metadata, "packages").iter()
}

/// A member of an object as text; empty when it is not text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A member of an object as a list; empty when it is not one.
pub(super) fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Package<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);

    fn sample(packages: &[Package]) -> Value {
        let packages: Vec<Value> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<Value> = dependencies
                    .iter()
                    .map(|(name, kind)| json!({ "name": name, "kind": kind }))
                    .collect();
                json!({
                    "name": name,
                    "manifest_path": format!("/r/crates/{name}/Cargo.toml"),
                    "dependencies": dependencies,
                })
            })
            .collect();
        json!({
            "packages": packages,
            "workspace_root": "/r",
            "workspace_default_members": ["path+file:///r/crates/quell#0.1.0"],
        })
    }

    fn texts(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn edges_of_the_table_pass() {
        let good = sample(&[
            ("quell-core", &[("quell-rules", None), ("serde", None), ("quell-sim", Some("dev"))]),
            ("quell-rules", &[("serde", None)]),
            ("quell-sim", &[("quell-core", None)]),
        ]);
        assert_eq!(edges(&good), []);
    }

    #[test]
    fn edges_outside_the_table_are_found() {
        let bad = sample(&[
            ("quell-core", &[("quell-store", None), ("quell-sim", None)]),
            ("quell-store", &[("quell-sources", Some("build"))]),
            ("quell-sources", &[("quell-targets", Some("dev"))]),
            ("quell-targets", &[]),
            ("quell-sim", &[]),
            ("quell-stray", &[]),
        ]);
        assert_eq!(
            texts(&edges(&bad)),
            [
                "quell-core: has a dependency on `quell-store`, which is not in the table of crate \
                 edges",
                "quell-core: has a dependency on `quell-sim`, which is not in the table of crate \
                 edges",
                "quell-store: has a dependency on `quell-sources`, which is not in the table of \
                 crate edges",
                "quell-sources: has a dev-dependency on `quell-targets`, which is not in the table \
                 of crate edges",
                "quell-stray: is not in the table of crate edges",
            ]
        );
    }

    #[test]
    fn a_folder_bears_its_crates_name() {
        let mut sample = sample(&[("quell-core", &[])]);
        assert_eq!(folders(&sample), []);
        sample["packages"][0]["manifest_path"] = json!("/r/crates/core/Cargo.toml");
        assert_eq!(folders(&sample).len(), 1);
        sample["packages"][0]["manifest_path"] = json!("/r/lib/quell-core/Cargo.toml");
        sample["workspace_default_members"] = json!(["path+file:///r/xtask#0.1.0"]);
        assert_eq!(folders(&sample).len(), 2);
    }
}
