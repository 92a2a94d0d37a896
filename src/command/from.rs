//! An area's command is one of its stream's.

use crate::command::{Command, OrganizationCommand, PlatformCommand};
use crate::history::restore::command::RestoreSettings;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::deletions::command::DeletionsCommand;
use crate::platform::foundings::command::FoundingsCommand;
use crate::platform::managed_apps::command::ManagedAppsCommand;
use crate::platform::memberships::command::MembershipsCommand;
use crate::platform::operations::command::OperationsCommand;
use crate::platform::plans::command::PlansCommand;
use crate::settings::api_keys::command::ApiKeysCommand;
use crate::settings::billing::command::BillingCommand;
use crate::settings::connections::command::ConnectionsCommand;
use crate::settings::customer_data::command::CustomerDataCommand;
use crate::settings::customers::command::CustomersCommand;
use crate::settings::environments::command::EnvironmentsCommand;
use crate::settings::executions::command::ExecutionsCommand;
use crate::settings::general::command::GeneralCommand;
use crate::settings::invitations::command::InvitationsCommand;
use crate::settings::join_requests::command::JoinRequestsCommand;
use crate::settings::oauth_apps::command::OauthAppsCommand;
use crate::settings::people::command::PeopleCommand;
use crate::settings::roles::command::RolesCommand;
use crate::settings::secrets::command::SecretsCommand;
use crate::settings::teams::command::TeamsCommand;

macro_rules! command_from {
    ($($sum:ident::$area:ident($command:ty) in $stream:ident;)*) => {$(
        impl From<$command> for Command {
            fn from(command: $command) -> Self {
                Self::$stream($sum::$area(command))
            }
        }
    )*};
}

command_from! {
    OrganizationCommand::General(GeneralCommand) in Organization;
    OrganizationCommand::People(PeopleCommand) in Organization;
    OrganizationCommand::Invitations(InvitationsCommand) in Organization;
    OrganizationCommand::JoinRequests(JoinRequestsCommand) in Organization;
    OrganizationCommand::Teams(TeamsCommand) in Organization;
    OrganizationCommand::Roles(RolesCommand) in Organization;
    OrganizationCommand::ApiKeys(ApiKeysCommand) in Organization;
    OrganizationCommand::Environments(EnvironmentsCommand) in Organization;
    OrganizationCommand::Customers(CustomersCommand) in Organization;
    OrganizationCommand::CustomerData(CustomerDataCommand) in Organization;
    OrganizationCommand::Executions(ExecutionsCommand) in Organization;
    OrganizationCommand::Secrets(SecretsCommand) in Organization;
    OrganizationCommand::OauthApps(OauthAppsCommand) in Organization;
    OrganizationCommand::Connections(ConnectionsCommand) in Organization;
    OrganizationCommand::Billing(BillingCommand) in Organization;
    OrganizationCommand::Restore(RestoreSettings) in Organization;
    PlatformCommand::Accounts(AccountsCommand) in Platform;
    PlatformCommand::Foundings(FoundingsCommand) in Platform;
    PlatformCommand::Deletions(DeletionsCommand) in Platform;
    PlatformCommand::Memberships(MembershipsCommand) in Platform;
    PlatformCommand::ManagedApps(ManagedAppsCommand) in Platform;
    PlatformCommand::Operations(OperationsCommand) in Platform;
    PlatformCommand::Plans(PlansCommand) in Platform;
}
