//! Binary room, assembly: from the user's folder to rules, policy, packs and targets; every error
//! names file, line and remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quell_core::action::Action;
use quell_core::authority::matrix::{self, Stated};
use quell_core::effect::Configured;
use quell_core::engine::Config;
use quell_core::order::Capability;
use quell_core::policy::{Policy, PolicyError, PolicyFiles};
use quell_core::rule::Rules;
use quell_core::time::MINUTE;
use quell_rules::RuleSet;
use quell_sources::{EMBEDDED, Pack};
use quell_targets::entra::{Credential, Entra, EntraConfig};
use quell_targets::oidc::{EndCall, ListCall, Oidc, OidcConfig};
use quell_targets::okta::{Okta, OktaConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};

use crate::config::{AuthScheme, Place, TargetKind, TargetSettings};
use crate::fault::Fault;
use crate::{secret, shipped};

/// One problem of the user's files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message)?,
            None => write!(f, "{}: {}", self.file, self.message)?,
        }
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n    remedy: {}", self.remedy) }
    }
}

/// Folders to read in place of those that `quell.toml` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folders {
    pub(crate) rules: Option<PathBuf>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) packs: Option<PathBuf>,
}

/// Rules, policy and packs in force.
#[derive(Debug, Clone)]
pub(crate) struct Brain {
    pub(crate) rules: Rules,
    pub(crate) policy: Policy,
    pub(crate) packs: BTreeMap<String, Arc<Pack>>,
}

impl Brain {
    /// What Quell ships, without a folder.
    pub(crate) fn shipped() -> Result<Self, Vec<Problem>> {
        Self::of(&owned(shipped::RULES), &shipped::policy(), &owned(EMBEDDED), &[])
    }

    /// What Quell ships, with another policy.
    pub(crate) fn with_policy(policy: &PolicyFiles) -> Result<Self, Vec<Problem>> {
        Self::of(&owned(shipped::RULES), policy, &owned(EMBEDDED), &[])
    }

    /// What stands in the user's folder; packs of the folder go before shipped ones.
    pub(crate) fn load(place: &Place) -> Result<Self, Vec<Problem>> {
        Self::load_with(Some(place), &Folders::default())
    }

    /// What stands in these folders, else in the user's, else what Quell ships. A policy that would
    /// let one source alone lock an administrator or executive out is a problem.
    pub(crate) fn load_with(
        place: Option<&Place>,
        folders: &Folders,
    ) -> Result<Self, Vec<Problem>> {
        let one = |fault: Fault| {
            let Fault { message, help, .. } = fault;
            vec![Problem { file: crate::config::FILE.into(), line: None, message, remedy: help }]
        };
        let paths = place.map(|place| (place, &place.settings.paths));
        let rules = folders.rules.clone().or(paths.map(|(place, p)| place.path(&p.rules)));
        let rules = match rules {
            Some(folder) => texts(&folder, &["yml", "yaml"]).map_err(one)?,
            None => owned(shipped::RULES),
        };
        let policy = folders.policy.clone().or(paths.map(|(place, p)| place.path(&p.policy)));
        let (policy, misnamed) = match policy {
            Some(folder) => policy_files(&folder).map_err(one)?,
            None => (shipped::policy(), Vec::new()),
        };
        let mut packs: BTreeMap<String, String> = owned(EMBEDDED).into_iter().collect();
        let folder = folders.packs.clone().or(paths.map(|(place, p)| place.path(&p.packs)));
        let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let file = entry.path().join("pack.yml");
            if let Ok(text) = std::fs::read_to_string(&file) {
                packs.insert(entry.file_name().to_string_lossy().into_owned(), text);
            }
        }
        let sources = place.map(|place| place.settings.source.as_slice()).unwrap_or_default();
        let sources: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let packs: Vec<_> = packs.into_iter().collect();
        let brain = Self::of(&rules, &policy, &packs, &sources);
        let mut problems = brain.as_ref().err().cloned().unwrap_or_default();
        problems.extend(misnamed);
        if let Ok(brain) = &brain {
            let walls = matrix::walls(&brain.policy, &brain.stated(place));
            problems.extend(walls.into_iter().map(policy_problem));
        }
        if problems.is_empty() {
            return brain;
        }
        problems.sort();
        Err(problems)
    }

    /// What each source can state: every pack, configured or not, and every configured source.
    pub(crate) fn stated(&self, place: Option<&Place>) -> Vec<Stated> {
        let packs = self.packs.iter().map(|(name, pack)| (name.clone(), pack.states()));
        let mut all: BTreeMap<String, _> = packs.collect();
        for source in place.iter().flat_map(|place| &place.settings.source) {
            let pack = source.pack.as_ref().unwrap_or(&source.name);
            if let Some(pack) = self.packs.get(pack) {
                all.insert(source.name.clone(), pack.states());
            }
        }
        all.into_iter().map(|(source, kinds)| Stated { source, kinds }).collect()
    }

    fn of(
        rules: &[(String, String)],
        policy: &PolicyFiles,
        packs: &[(String, String)],
        sources: &[&str],
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let texts: Vec<(&str, &str)> =
            rules.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let (set, errors) = RuleSet::parse(&texts);
        let mut errors = errors;
        if !sources.is_empty() {
            // Shipped rules name sources by their packs, whether or not these are configured.
            let packs = packs.iter().map(|(name, _)| name.as_str());
            let known: Vec<&str> = sources.iter().copied().chain(packs).chain(["quell"]).collect();
            errors.extend(set.unknown_values("source", &known));
        }
        for error in &errors {
            problems.push(Problem {
                file: format!("rules/{}", error.file()),
                line: Some(error.line()),
                message: error.fault().to_string(),
                remedy: error.help().to_owned(),
            });
        }
        let parsed = problems.is_empty().then(|| Rules::new(set));
        let rules = parsed.and_then(|rules| {
            rules
                .map_err(|errors| {
                    problems.extend(errors.into_iter().map(|error| Problem {
                        file: format!("rules/{}", error.file),
                        line: Some(error.line),
                        message: error.what,
                        remedy: String::new(),
                    }));
                })
                .ok()
        });
        let policy = Policy::load(policy)
            .map_err(|errors| {
                problems.extend(errors.into_iter().map(policy_problem));
            })
            .ok();
        let mut loaded = BTreeMap::new();
        for (name, text) in packs {
            match Pack::load(&format!("packs/{name}/pack.yml"), text) {
                Ok(pack) => {
                    loaded.insert(name.clone(), Arc::new(pack));
                }
                Err(errors) => problems.extend(errors.iter().map(pack_problem)),
            }
        }
        match (rules, policy) {
            (Some(rules), Some(policy)) if problems.is_empty() => {
                Ok(Self { rules, policy, packs: loaded })
            }
            _ => {
                problems.sort();
                problems.dedup();
                Err(problems)
            }
        }
    }

    /// The engine's configuration.
    pub(crate) fn config(
        &self,
        tenant: &str,
        capabilities: BTreeMap<String, Vec<Capability>>,
    ) -> Config {
        Config {
            tenant: tenant.to_owned(),
            rules: self.rules.clone(),
            policy: self.policy.clone(),
            capabilities,
        }
    }

    /// The digests of what is in force.
    pub(crate) fn configured(&self) -> Configured {
        let packs = self.packs.iter().map(|(n, pack)| (n.clone(), pack.digest().to_string()));
        Configured {
            rules: self.rules.digest.to_string(),
            policy: self.policy.digest.to_string(),
            packs: packs.collect(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Problems as one fault.
pub(crate) fn fault(problems: &[Problem]) -> Fault {
    let lines: Vec<String> = problems.iter().map(|p| format!("\n  {p}")).collect();
    let message = format!("{} problem(s) in the configuration:{}", problems.len(), lines.concat());
    Fault::config(message, "`quell check` says the same")
}

fn owned(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect()
}

fn policy_problem(error: PolicyError) -> Problem {
    let PolicyError { file, line, message, remedy } = error;
    Problem { file: format!("policy/{file}"), line, message, remedy }
}

fn pack_problem(error: &quell_sources::PackError) -> Problem {
    Problem {
        file: error.file().to_owned(),
        line: Some(error.line()),
        message: error.what().to_owned(),
        remedy: error.help().to_owned(),
    }
}

/// The texts of a folder's files by ending, sorted by name.
fn texts(folder: &Path, endings: &[&str]) -> Result<Vec<(String, String)>, Fault> {
    let entries = std::fs::read_dir(folder).map_err(|e| Fault::file(folder, &e))?;
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Fault::file(folder, &e))?.path();
        let fits = |e: &std::ffi::OsStr| endings.iter().any(|end| e.eq_ignore_ascii_case(end));
        let fits = path.extension().is_some_and(fits);
        if let Some(name) = path.file_name().filter(|_| fits) {
            let text = std::fs::read_to_string(&path).map_err(|e| Fault::file(&path, &e))?;
            all.push((name.to_string_lossy().into_owned(), text));
        }
    }
    all.sort();
    Ok(all)
}

/// The texts of the policy folder, and what lies there under a name that would be passed over.
/// Hidden files, READMEs and folders may lie there.
pub(crate) fn policy_files(folder: &Path) -> Result<(PolicyFiles, Vec<Problem>), Fault> {
    let entries = std::fs::read_dir(folder).map_err(|e| Fault::file(folder, &e))?;
    let (mut files, mut misnamed) = (PolicyFiles::default(), Vec::new());
    for entry in entries {
        let path = entry.map_err(|e| Fault::file(folder, &e))?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        if POLICY_ENDINGS.iter().any(|end| name.ends_with(end)) {
            let text = std::fs::read_to_string(&path).map_err(|e| Fault::file(&path, &e))?;
            files.0.insert(name, text);
        } else if !name.to_lowercase().starts_with("readme") {
            misnamed.push(no_policy_file(&name));
        }
    }
    misnamed.sort();
    Ok((files, misnamed))
}

/// How the files of a policy end; the core knows which TOML files and which schema there are.
const POLICY_ENDINGS: [&str; 3] = [".toml", ".cedar", ".cedarschema"];

fn no_policy_file(name: &str) -> Problem {
    let lower = name.to_lowercase();
    let remedy = match POLICY_ENDINGS.iter().find(|end| lower.ends_with(*end)) {
        Some(_) => format!("rename it to `{lower}`: case counts"),
        None => "move it away, or let a policy's name end in `.cedar`; only hidden files and a \
                 README may lie beside the policy"
            .to_owned(),
    };
    let message = "no file of a policy has such a name".to_owned();
    Problem { file: format!("policy/{name}"), line: None, message, remedy }
}

/// The configured targets by provider.
pub(crate) fn targets(
    place: &Place,
    policy: &Policy,
) -> Result<BTreeMap<String, Arc<dyn Target>>, Fault> {
    let mut all: BTreeMap<String, Arc<dyn Target>> = BTreeMap::new();
    for settings in &place.settings.target {
        let token = Secret::new(secret::resolve(&place.folder, settings.credential()?)?);
        let target = target(settings, token, policy)?;
        if all.insert(settings.provider.clone(), target).is_some() {
            let message = format!("two targets for provider `{}`", settings.provider);
            return Err(Fault::config(message, "one target a provider"));
        }
    }
    Ok(all)
}

/// One target; `secret` is what its credential refers to.
pub(crate) fn target(
    settings: &TargetSettings,
    secret: Secret,
    policy: &Policy,
) -> Result<Arc<dyn Target>, Fault> {
    let bad = |e: &dyn std::fmt::Display| bad_target(settings, e);
    let auth = match (settings.kind, settings.auth) {
        (TargetKind::EntraId, _) => Auth::None,
        (TargetKind::Okta, AuthScheme::Ssws) => Auth::Ssws(secret.clone()),
        _ => Auth::Bearer(secret.clone()),
    };
    let mut vendor = VendorConfig::new(&settings.url, auth);
    if let Some(ms) = settings.timeout_ms {
        vendor.total_timeout = Duration::from_millis(ms.clamp(50, 120_000));
    }
    let protected: BTreeSet<String> = policy
        .protected
        .accounts()
        .into_iter()
        .filter(|account| account.provider == settings.provider)
        .map(|account| account.id)
        .collect();
    match settings.kind {
        TargetKind::Okta => {
            let mut config = OktaConfig::new(&settings.provider, vendor);
            config.protected = protected;
            config.quiet = settings.quiet_ms.map_or(config.quiet, micros).clamp(0, 5 * MINUTE);
            config.log_lag = settings.lag_ms.map_or(config.log_lag, micros);
            config.step_up_group.clone_from(&settings.step_up_group);
            Ok(Arc::new(Okta::new(config).map_err(|e| bad(&e))?))
        }
        TargetKind::EntraId => entra(settings, vendor, secret, protected),
        TargetKind::Oidc => {
            let end = settings.end_sessions.as_ref().ok_or_else(|| {
                bad(&"`end_sessions` is missing: an OpenID provider has no standard call for it")
            })?;
            let end = EndCall {
                method: end.method.clone(),
                path: end.path.clone(),
                expected: end.expected.clone(),
            };
            let mut config = OidcConfig::new(&settings.provider, vendor, end);
            config.protected = protected;
            config.list_sessions = settings
                .list_sessions
                .as_ref()
                .map(|list| ListCall { path: list.path.clone(), pointer: list.pointer.clone() });
            config.quiet = settings.quiet_ms.map_or(config.quiet, micros).clamp(0, 5 * MINUTE);
            config.list_lag = settings.lag_ms.map_or(config.list_lag, micros);
            Ok(Arc::new(Oidc::new(config).map_err(|e| bad(&e))?))
        }
    }
}

/// Entra ID, whose settings are its own.
fn entra(
    settings: &TargetSettings,
    vendor: VendorConfig,
    secret: Secret,
    protected: BTreeSet<String>,
) -> Result<Arc<dyn Target>, Fault> {
    let bad = |e: &dyn std::fmt::Display| bad_target(settings, e);
    let must = |name: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| bad(&format!("`{name}` is missing")))
    };
    let tenant = must("tenant_id", &settings.tenant_id)?;
    let client = must("client_id", &settings.client_id)?;
    let credential = match &settings.certificate {
        Some(_) => Credential::Certificate(secret),
        None => Credential::Secret(secret),
    };
    let mut config = EntraConfig::new(&settings.provider, vendor, tenant, client, credential);
    if let Some(login) = &settings.login_url {
        config.login.clone_from(login);
    }
    if let Some(names) = &settings.actions {
        let action = |name: &String| {
            name.parse::<Action>().map_err(|_| bad(&format!("`{name}` is no action")))
        };
        config.actions = names.iter().map(action).collect::<Result<_, _>>()?;
    }
    config.step_up_group.clone_from(&settings.step_up_group);
    config.protected = protected;
    config.effect = settings.effect_ms.map_or(config.effect, micros);
    config.lag = settings.lag_ms.map_or(config.lag, micros);
    Ok(Arc::new(Entra::new(config).map_err(|e| bad(&e))?))
}

fn bad_target(settings: &TargetSettings, e: &dyn std::fmt::Display) -> Fault {
    Fault::config(format!("target `{}`: {e}", settings.provider), "see docs/targets/")
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

/// What the targets can do, by provider.
pub(crate) fn capabilities(
    targets: &BTreeMap<String, Arc<dyn Target>>,
) -> BTreeMap<String, Vec<Capability>> {
    targets.iter().map(|(name, target)| (name.clone(), target.capabilities())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn nothing_in_the_policy_folder_is_passed_over_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in PolicyFiles::shipped().0 {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        for name in [".gitignore", ".armed.toml.new", "README.md", "Readme"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("old")).unwrap();
        let (files, misnamed) = policy_files(folder.path()).unwrap();
        assert_eq!((files, misnamed), (PolicyFiles::shipped(), Vec::new()));
        for name in ["never.CEDAR", "Limits.TOML", "own.cedar.txt", "default.cedar~"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let (files, misnamed) = policy_files(folder.path()).unwrap();
        assert_eq!(files, PolicyFiles::shipped());
        let lines: Vec<String> = misnamed.iter().map(|p| format!("{p}\n")).collect();
        expect![[r#"
            policy/Limits.TOML: no file of a policy has such a name
                remedy: rename it to `limits.toml`: case counts
            policy/default.cedar~: no file of a policy has such a name
                remedy: move it away, or let a policy's name end in `.cedar`; only hidden files and a README may lie beside the policy
            policy/never.CEDAR: no file of a policy has such a name
                remedy: rename it to `never.cedar`: case counts
            policy/own.cedar.txt: no file of a policy has such a name
                remedy: move it away, or let a policy's name end in `.cedar`; only hidden files and a README may lie beside the policy
        "#]].assert_eq(&lines.concat());
    }

    #[test]
    fn an_entra_target_says_what_it_lacks() {
        let check = |more: &str| {
            let text = format!(
                "version = 1\n[[target]]\nprovider = \"corp\"\nkind = \"entra_id\"\n\
                 url = \"https://graph.example.com\"\n{more}"
            );
            let settings = crate::config::parse(Path::new("quell.toml"), &text).unwrap();
            let one = settings.target.first().unwrap();
            let policy = Policy::load(&PolicyFiles::shipped()).unwrap();
            let made = one
                .credential()
                .and_then(|_| target(one, Secret::new("an-invented-secret"), &policy));
            match made {
                Ok(target) => {
                    let names: Vec<&str> =
                        target.capabilities().iter().map(|c| c.action.name()).collect();
                    names.join(" ")
                }
                Err(fault) => fault.message,
            }
        };
        let ids = "tenant_id = \"corp.example.com\"\nclient_id = \"c-1\"\n";
        let secret = "client_secret = \"env:S\"\n";
        let texts = [
            check(secret),
            check(ids),
            check(&format!("{ids}{secret}token = \"env:T\"")),
            check(&format!("{ids}{secret}certificate = \"file:c.pem\"")),
            check(&format!("{ids}certificate = \"file:c.pem\"")),
            check(&format!("{ids}{secret}actions = [\"step_up\"]")),
            check(&format!("{ids}{secret}actions = [\"lock\"]")),
            check(&format!("{ids}{secret}login_url = \"http://a.example.com\"")),
            check(&format!("{ids}{secret}")),
        ];
        expect![[r#"
            target `corp`: `tenant_id` is missing
            target `corp`: an application proves itself by one thing
            target `corp`: an application proves itself by one thing
            target `corp`: an application proves itself by one thing
            target `corp`: `certificate` is not usable: it holds no certificate in PEM
            target `corp`: `step_up_group` is not usable: `step_up` needs it
            target `corp`: `lock` is no action
            target `corp`: `http://a.example.com` cannot be a base address: `http` is for loopback alone
            end_sessions force_reauth suspend"#]].assert_eq(&texts.join("\n"));
    }
}
