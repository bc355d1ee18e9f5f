//! Binary room, what Quell ships: rules, policy and packs, embedded and written out by `init`.

use quell_core::policy::PolicyFiles;

/// The shipped rules: file name and text.
pub(crate) const RULES: &[(&str, &str)] = &[
    ("breached_credential_used.yml", include_str!("../../../rules/breached_credential_used.yml")),
    ("outsider_observe.yml", include_str!("../../../rules/outsider_observe.yml")),
    ("permitted_phish_click.yml", include_str!("../../../rules/permitted_phish_click.yml")),
    (
        "phish_click_then_new_sign_in.yml",
        include_str!("../../../rules/phish_click_then_new_sign_in.yml"),
    ),
];

/// The shipped policy, in shadow mode.
pub(crate) fn policy() -> PolicyFiles {
    PolicyFiles::shipped()
}

/// The commented starter file.
pub(crate) const SETTINGS: &str = include_str!("../assets/quell.toml");

/// The commented starter directory.
pub(crate) const DIRECTORY: &str = include_str!("../assets/directory.csv");
