//! Actions, their groups and the tiers: the closed list of DESIGN.md section 6.

use crate::name::names;

names! {
    /// What can be done, one action on one account or entity; only appended to.
    Action {
        /// Put on a watchlist with a time to live.
        Watch = "watch",
        /// End sign-in sessions so that the person signs in again; tokens live on.
        ForceReauth = "force_reauth",
        /// Ask for a stronger sign-in.
        StepUp = "step_up",
        /// End one session.
        EndSession = "end_session",
        /// End all sessions and tokens.
        EndSessions = "end_sessions",
        /// Revoke tokens.
        RevokeTokens = "revoke_tokens",
        /// Revoke an OAuth grant.
        RevokeGrant = "revoke_grant",
        /// Tell the provider that the account is compromised.
        ConfirmCompromised = "confirm_compromised",
        /// Disable a mail rule.
        DisableMailRule = "disable_mail_rule",
        /// Disable a device.
        DisableDevice = "disable_device",
        /// Expire the password.
        ExpirePassword = "expire_password",
        /// Reset the password.
        ResetPassword = "reset_password",
        /// Block the account; reversible.
        Suspend = "suspend",
        /// Remove an authentication method.
        RemoveMethod = "remove_method",
        /// Disable an OAuth application.
        DisableApp = "disable_app",
        /// Rotate a service credential.
        RotateCredential = "rotate_credential",
    }
}

names! {
    /// The proportion of the response; also the group of an action, which sets the floor of
    /// authority. Ordered from least to most.
    Tier {
        /// Watch.
        Observe = "observe",
        /// Ask the person to prove himself.
        Challenge = "challenge",
        /// End access; recoverable by signing in again.
        Contain = "contain",
        /// Lock out.
        Evict = "evict",
    }
}

impl Action {
    /// The group that the action belongs to; fixed.
    pub fn group(self) -> Tier {
        match self {
            Self::Watch => Tier::Observe,
            Self::ForceReauth | Self::StepUp => Tier::Challenge,
            Self::EndSession
            | Self::EndSessions
            | Self::RevokeTokens
            | Self::RevokeGrant
            | Self::ConfirmCompromised
            | Self::DisableMailRule
            | Self::DisableDevice => Tier::Contain,
            Self::ExpirePassword
            | Self::ResetPassword
            | Self::Suspend
            | Self::RemoveMethod
            | Self::DisableApp
            | Self::RotateCredential => Tier::Evict,
        }
    }

    /// True when the person cannot get in again by himself: guarded by floors and approvals.
    pub fn locks_out(self) -> bool {
        self.group() == Tier::Evict
    }

    /// True when it ends all that an account's sessions and tokens give at once: what happened
    /// before it is contained by it. Steps on one session, grant, rule, device or secret do not.
    pub fn closes_account(self) -> bool {
        matches!(self, Self::EndSessions | Self::Suspend | Self::DisableApp)
    }

    /// The MITRE D3FEND countermeasure and its name, where one fits.
    pub fn countermeasure(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::ForceReauth | Self::EndSession | Self::EndSessions => {
                ("D3-ST", "Session Termination")
            }
            Self::RevokeTokens => ("D3-ANCI", "Authentication Cache Invalidation"),
            Self::RevokeGrant => ("D3-CR", "Credential Revocation"),
            Self::Suspend | Self::DisableApp => ("D3-AL", "Account Locking"),
            Self::StepUp => ("D3-MFA", "Multi-factor Authentication"),
            Self::RotateCredential => ("D3-CRO", "Credential Rotation"),
            Self::ExpirePassword | Self::ResetPassword | Self::RemoveMethod => {
                ("D3-CE", "Credential Eviction")
            }
            Self::Watch
            | Self::ConfirmCompromised
            | Self::DisableMailRule
            | Self::DisableDevice => return None,
        })
    }
}
