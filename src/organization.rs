//! [`Organization`]: everything that one organization's stream says, one field per area.
//!
//! It fans out and nothing else; what an event means is told in the areas.

use crate::settings::api_keys::projection::ApiKeys;
use crate::settings::billing::projection::Billing;
use crate::settings::connections::projection::Connections;
use crate::settings::customer_data::projection::CustomerData;
use crate::settings::customers::projection::Customers;
use crate::settings::environments::projection::Environments;
use crate::settings::executions::projection::Executions;
use crate::settings::general::projection::General;
use crate::settings::invitations::projection::Invitations;
use crate::settings::join_requests::projection::JoinRequests;
use crate::settings::oauth_apps::projection::OauthApps;
use crate::settings::people::projection::People;
use crate::settings::roles::projection::Roles;
use crate::settings::secrets::projection::Secrets;
use crate::settings::sessions::projection::Sessions;
use crate::settings::teams::projection::Teams;
use crate::store::denials::Denials;
use crate::store::encryption_keys::EncryptionKeys;
use crate::store::exports::Exports;
use crate::store::requests::Requests;
use crate::store::revision::Revision;
use crate::store::rights::Rights;
use crate::stream_state;

stream_state! {
    /// One organization's settings at a version: a value, cheap to clone, shared with readers without a lock.
    pub struct Organization {
        settings {
            /// Name, time zone, e-mail domain.
            general: General,
            /// Who belongs to it.
            people: People,
            /// Who is invited to join.
            invitations: Invitations,
            /// Who asks to join.
            join_requests: JoinRequests,
            /// Teams and who is in them.
            teams: Teams,
            /// Who may do what.
            roles: Roles,
            /// What programs call with.
            api_keys: ApiKeys,
            /// Environments and their configuration.
            environments: Environments,
            /// Whom it works for.
            customers: Customers,
            /// Their documents.
            customer_data: CustomerData,
            /// Secrets, sealed.
            secrets: Secrets,
            /// As whom people are asked to connect.
            oauth_apps: OauthApps,
            /// Access to others' services, sealed.
            connections: Connections,
            /// Its plan and quotas.
            billing: Billing,
        }
        beside {
            /// What runs for customers, and what ended lately.
            executions: Executions,
            /// Who is logged in.
            sessions: Sessions,
            /// Idempotency keys of the last day.
            requests: Requests,
            /// How many denials were recorded this hour, so that they stay bounded.
            denials: Denials,
            /// Who took events out this hour.
            exports: Exports,
            /// Keys that wrap others.
            encryption_keys: EncryptionKeys,
            /// When a setting changed last.
            revision: Revision,
            /// When somebody's rights changed last.
            rights: Rights,
        }
    }
}
