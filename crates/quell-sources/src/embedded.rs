//! Sources room: the packs that Quell ships, as they stand in `packs/`. Holds texts only.

/// Name and text of every shipped pack, sorted by name.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("entra_id", include_str!("../../../packs/entra_id/pack.yml")),
    ("m365_audit", include_str!("../../../packs/m365_audit/pack.yml")),
    ("microsoft_defender", include_str!("../../../packs/microsoft_defender/pack.yml")),
    ("okta", include_str!("../../../packs/okta/pack.yml")),
    ("proofpoint_tap", include_str!("../../../packs/proofpoint_tap/pack.yml")),
];
