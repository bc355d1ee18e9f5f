//! Binary room, what Quell ships: rules, policy and packs, embedded and written out by `init`.

use quell_core::policy::PolicyFiles;

macro_rules! rules {
    ($($name:literal,)+) => {
        &[$((
            concat!($name, ".yml"),
            include_str!(concat!("../../../rules/", $name, ".yml")),
        ),)+]
    };
}

/// The shipped rules: file name and text.
pub(crate) const RULES: &[(&str, &str)] = rules![
    "adversary_in_the_middle",
    "breached_credential_used",
    "consent_after_phish",
    "mailbox_rule_after_risky_sign_in",
    "mfa_denials_then_success",
    "outsider_observe",
    "permitted_phish_click",
    "phish_click_then_new_sign_in",
    "provider_verdict",
    "session_from_two_networks",
];

/// The shipped policy, in shadow mode.
pub(crate) fn policy() -> PolicyFiles {
    PolicyFiles::shipped()
}

/// The commented starter file.
pub(crate) const SETTINGS: &str = include_str!("../assets/quell.toml");

/// The commented starter directory.
pub(crate) const DIRECTORY: &str = include_str!("../assets/directory.csv");

/// The first test of a team: its file's name and text.
pub(crate) const TEST: (&str, &str) =
    ("breached_credential.yml", include_str!("../assets/breached_credential.yml"));

#[cfg(test)]
mod tests {
    #[test]
    fn every_rule_of_the_folder_is_shipped() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let shipped: Vec<&str> = super::RULES.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, shipped);
    }
}
