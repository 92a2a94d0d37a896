//! A real organization's mix of events: what happens in it, how often, and stores that are filled with it.
//!
//! Whoever needs a store of some size takes it from here, so that benches, dictionaries and demos are about the same
//! organizations. [`MIX`] is the one table; a new area adds its rows there and what they mean in `company/acts.rs`.

pub mod company;
pub mod crowd;
pub mod customers;
pub mod dice;
pub mod generate;
pub mod pace;
pub mod programs;
pub mod store;
pub mod words;

/// Something that happens in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody logs in.
    LogIn,
    /// Somebody logs out.
    LogOut,
    /// Somebody ends another session of theirs.
    RevokeSession,
    /// Somebody mistypes a password.
    FailLogIn,
    /// A configuration value is set.
    SetValue,
    /// A few configuration values are set at once.
    SetValues,
    /// A configuration value is deleted.
    DeleteValue,
    /// An environment is made.
    CreateEnvironment,
    /// An environment is described anew.
    DescribeEnvironment,
    /// An environment is deleted with its configuration.
    DeleteEnvironment,
    /// A secret is made.
    CreateSecret,
    /// A secret gets another value.
    WriteSecret,
    /// Somebody is shown a secret's value.
    RevealSecret,
    /// A secret gets its value of before back.
    RollBackSecret,
    /// An old value of a secret is destroyed.
    DestroyValue,
    /// The organization gets another name or time zone.
    UpdateOrganization,
    /// Somebody joins.
    Join,
    /// Somebody is invited, and answers soon.
    Invite,
    /// An invitation is sent again.
    ResendInvitation,
    /// An invitation is taken back.
    RevokeInvitation,
    /// Whoever is invited joins.
    AcceptInvitation,
    /// Whoever is invited does not.
    DeclineInvitation,
    /// The organization gets its e-mail domain.
    SetDomain,
    /// Somebody of the domain asks to join, and is answered soon.
    AskToJoin,
    /// Whoever asks is let in.
    ApproveRequest,
    /// Whoever asks is not.
    DeclineRequest,
    /// Somebody changes their own name.
    RenamePerson,
    /// Somebody leaves.
    Leave,
    /// Somebody is suspended, and soon let in again.
    SuspendPerson,
    /// Whoever was suspended is let in again.
    ReactivatePerson,
    /// Somebody is removed.
    RemovePerson,
    /// Somebody who has gone is erased.
    ErasePerson,
    /// A team is made.
    CreateTeam,
    /// Somebody becomes a member of a team.
    AddMember,
    /// Somebody is a member of a team no more.
    RemoveMember,
    /// A custom role is made.
    CreateRole,
    /// A custom role allows something else.
    ChangeRole,
    /// A program gets an API key.
    CreateKey,
    /// An API key is renamed.
    RenameKey,
    /// An API key is rotated.
    RotateKey,
    /// An API key is revoked.
    RevokeKey,
    /// A program uses its key.
    UseKey,
    /// Somebody gets a role.
    AssignRole,
    /// Somebody loses a role.
    UnassignRole,
    /// The organization has a customer more.
    CreateCustomer,
    /// A customer gets other tags, or another name.
    UpdateCustomer,
    /// A customer is suspended, and soon let again.
    SuspendCustomer,
    /// The customer that was suspended is let again.
    ReactivateCustomer,
    /// A customer is deleted.
    DeleteCustomer,
    /// A customer is erased.
    EraseCustomer,
    /// A customer's document is written.
    SetDocument,
    /// A customer's document is deleted.
    DeleteDocument,
    /// A program begins something for a customer.
    StartExecution,
    /// A program ends what was begun first.
    FinishExecution,
    /// An OAuth app is made.
    CreateApp,
    /// An OAuth app gets another secret.
    UpdateApp,
    /// An OAuth app is deleted.
    DeleteApp,
    /// A connection is made, with a token that somebody has or for somebody to consent to.
    CreateConnection,
    /// Somebody consents to the connection that was made last.
    Consent,
    /// A connection gets another access token from its provider.
    RefreshToken,
    /// A provider does not hand out another access token.
    FailRefresh,
    /// A connection is ended.
    RevokeConnection,
    /// The organization wants to be told of more than so much.
    SetQuota,
    /// An hour's requests of programs are recorded.
    CountRequests,
    /// Somebody tries what they may not.
    BeDenied,
    /// Somebody takes events out.
    Export,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The area that records it.
    pub area: &'static str,
    /// What happens.
    pub kind: Kind,
    /// How often, of [`PER`] things that happen.
    pub weight: u32,
}

/// What the weights add up to.
pub const PER: u32 = 1_000;

const fn share(area: &'static str, kind: Kind, weight: u32) -> Share {
    Share { area, kind, weight }
}

/// What happens in a real organization, of a thousand things.
///
/// Nothing can happen at once in a new organization: what is not possible yet becomes a configuration value that is
/// set. And whoever acts without a session logs in first, which makes logins more frequent than their row says.
pub const MIX: &[Share] = &[
    share("api_keys", Kind::CreateKey, 5),
    share("api_keys", Kind::RenameKey, 6),
    share("api_keys", Kind::RotateKey, 3),
    share("api_keys", Kind::RevokeKey, 4),
    share("api_keys", Kind::UseKey, 60),
    share("environments", Kind::SetValue, 202),
    share("environments", Kind::SetValues, 30),
    share("environments", Kind::DeleteValue, 50),
    share("environments", Kind::CreateEnvironment, 5),
    share("environments", Kind::DescribeEnvironment, 10),
    share("environments", Kind::DeleteEnvironment, 3),
    share("secrets", Kind::CreateSecret, 10),
    share("secrets", Kind::WriteSecret, 30),
    share("secrets", Kind::RevealSecret, 20),
    share("secrets", Kind::RollBackSecret, 5),
    share("secrets", Kind::DestroyValue, 5),
    share("customers", Kind::CreateCustomer, 12),
    share("customers", Kind::UpdateCustomer, 10),
    share("customers", Kind::SuspendCustomer, 2),
    share("customers", Kind::DeleteCustomer, 2),
    share("customers", Kind::EraseCustomer, 2),
    share("customer_data", Kind::SetDocument, 25),
    share("customer_data", Kind::DeleteDocument, 4),
    share("executions", Kind::StartExecution, 70),
    share("executions", Kind::FinishExecution, 70),
    share("oauth_apps", Kind::CreateApp, 3),
    share("oauth_apps", Kind::UpdateApp, 3),
    share("oauth_apps", Kind::DeleteApp, 1),
    share("connections", Kind::CreateConnection, 5),
    share("connections", Kind::RefreshToken, 10),
    share("connections", Kind::FailRefresh, 2),
    share("connections", Kind::RevokeConnection, 3),
    share("billing", Kind::SetQuota, 1),
    share("billing", Kind::CountRequests, 10),
    share("general", Kind::UpdateOrganization, 7),
    share("people", Kind::Join, 4),
    share("invitations", Kind::Invite, 6),
    share("join_requests", Kind::AskToJoin, 3),
    share("people", Kind::RenamePerson, 5),
    share("people", Kind::Leave, 3),
    share("people", Kind::SuspendPerson, 2),
    share("people", Kind::RemovePerson, 1),
    share("people", Kind::ErasePerson, 1),
    share("teams", Kind::CreateTeam, 2),
    share("teams", Kind::AddMember, 6),
    share("teams", Kind::RemoveMember, 3),
    share("roles", Kind::CreateRole, 2),
    share("roles", Kind::ChangeRole, 2),
    share("roles", Kind::AssignRole, 25),
    share("roles", Kind::UnassignRole, 15),
    share("sessions", Kind::LogIn, 80),
    share("sessions", Kind::LogOut, 60),
    share("sessions", Kind::RevokeSession, 10),
    share("denials", Kind::FailLogIn, 25),
    share("denials", Kind::BeDenied, 50),
    share("exports", Kind::Export, 5),
];

/// The kind that a throw of 0 up to [`PER`] falls on.
pub fn thrown(throw: u32) -> Kind {
    let mut rest = throw % PER;
    for share in MIX {
        if rest < share.weight {
            return share.kind;
        }
        rest -= share.weight;
    }
    Kind::SetValue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_add_up() {
        assert_eq!(MIX.iter().map(|share| share.weight).sum::<u32>(), PER);
    }

    #[test]
    fn each_row_is_thrown_as_often_as_it_says() {
        for share in MIX {
            let count = (0..PER).filter(|throw| thrown(*throw) == share.kind).count();
            assert_eq!(count, share.weight as usize, "{:?}", share.kind);
        }
    }
}
