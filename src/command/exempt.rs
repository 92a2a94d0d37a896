//! Which commands go on where all others are refused: on a disk that is nearly full, and after an organization's end.

use super::{Command, OrganizationCommand, PlatformCommand};
use crate::settings::api_keys::command::ApiKeysCommand;
use crate::settings::connections::command::ConnectionsCommand;
use crate::settings::customers::command::CustomersCommand;
use crate::settings::general::command::GeneralCommand;
use crate::settings::invitations::command::InvitationsCommand;
use crate::settings::join_requests::command::JoinRequestsCommand;
use crate::settings::people::command::PeopleCommand;
use crate::settings::roles::command::RolesCommand;
use crate::settings::sessions::command::SessionsCommand;
use crate::settings::teams::command::TeamsCommand;

impl OrganizationCommand {
    /// Whether it is taken after the organization's end, too: all that destroys its keys.
    pub fn outlasts_the_end(&self) -> bool {
        matches!(
            self,
            Self::General(GeneralCommand::End | GeneralCommand::Forget(_))
                | Self::EncryptionKeys(_)
                | Self::Finish(_)
        )
    }
}

impl Command {
    /// Whether it takes something away from somebody, as logging out and revoking do, or would lose what cannot be had
    /// again. Such commands go on when the disk is nearly full.
    pub fn is_a_removal(&self) -> bool {
        match self {
            Self::Organization(OrganizationCommand::Sessions(command))
            | Self::Platform(PlatformCommand::Sessions(command)) => {
                matches!(command, SessionsCommand::Close(_))
            }
            Self::Organization(OrganizationCommand::Roles(command)) => {
                matches!(command, RolesCommand::Unassign(_))
            }
            Self::Organization(OrganizationCommand::People(command)) => {
                matches!(
                    command,
                    PeopleCommand::Leave(_)
                        | PeopleCommand::Suspend(_)
                        | PeopleCommand::Remove(_)
                        | PeopleCommand::Erase(_)
                )
            }
            Self::Platform(PlatformCommand::Accounts(command)) => command.is_a_removal(),
            Self::Organization(OrganizationCommand::Teams(command)) => {
                matches!(command, TeamsCommand::RemoveMember(_) | TeamsCommand::Delete(_))
            }
            Self::Organization(OrganizationCommand::ApiKeys(command)) => {
                matches!(command, ApiKeysCommand::Revoke(_))
            }
            Self::Organization(OrganizationCommand::Connections(command)) => {
                // What a provider has handed out is lost if it is not recorded; nobody is asked for more meanwhile.
                matches!(
                    command,
                    ConnectionsCommand::Revoke(_)
                        | ConnectionsCommand::Connect(_)
                        | ConnectionsCommand::NoteRefresh(_)
                )
            }
            Self::Organization(OrganizationCommand::Customers(command)) => {
                matches!(
                    command,
                    CustomersCommand::Suspend(_) | CustomersCommand::Delete(_) | CustomersCommand::Erase(_)
                )
            }
            Self::Organization(OrganizationCommand::Invitations(command)) => {
                matches!(command, InvitationsCommand::Revoke(_) | InvitationsCommand::Decline(_))
            }
            Self::Organization(OrganizationCommand::JoinRequests(command)) => {
                matches!(command, JoinRequestsCommand::Decline(_))
            }
            Self::Organization(
                OrganizationCommand::Finish(_)
                | OrganizationCommand::General(GeneralCommand::End | GeneralCommand::Forget(_)),
            )
            | Self::Platform(PlatformCommand::Finish(_) | PlatformCommand::Deletions(_)) => true,
            Self::Organization(_) | Self::Platform(_) => false,
        }
    }
}
