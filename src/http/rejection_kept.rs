//! Rejections of what is kept for programs and customers, as [`crate::http::rejection`] tells them.

use crate::http::access::Denial;
use crate::http::problem::Problem;
use crate::settings::connections::command::ConnectionsRejection;
use crate::settings::customer_data::command::CustomerDataRejection;
use crate::settings::customers::command::CustomersRejection;
use crate::settings::executions::command::ExecutionsRejection;
use crate::settings::oauth_apps::command::OauthAppsRejection;
use crate::settings::secrets::command::SecretsRejection;
use crate::store::customers::SearchError;

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Key(error) => error.into(),
            SearchError::History(error) => error.into(),
            SearchError::Refused(refusal) => refusal.into(),
        }
    }
}

pub(super) fn oauth_apps(rejection: OauthAppsRejection) -> Problem {
    match rejection {
        OauthAppsRejection::NotFound => Problem::not_found(),
        OauthAppsRejection::UnknownProvider => Problem::invalid_field(
            "/provider",
            "unknown",
            "there is no such provider; see /v1/oauth-providers",
        ),
        OauthAppsRejection::NotCustom => Problem::invalid_field(
            "/provider",
            "not_custom",
            "the catalogue has this provider's URLs, and how apps prove to be themselves there",
        ),
        OauthAppsRejection::UrlsMissing => Problem::invalid_field(
            "/authorize_url",
            "missing",
            "a custom provider needs authorize_url and token_url",
        ),
        OauthAppsRejection::SecretMissing => Problem::invalid_field(
            "/client_secret",
            "missing",
            "whoever changes a URL says the client secret again, so that it goes nowhere unseen",
        ),
        OauthAppsRejection::InUse => {
            Problem::conflict("oauth_app_in_use", "end the connections that were made as this app first")
        }
        OauthAppsRejection::TooMany => {
            Problem::conflict("too_many_oauth_apps", "the organization has as many OAuth apps as it can")
        }
    }
}

pub(super) fn customers(rejection: CustomersRejection) -> Problem {
    match rejection {
        CustomersRejection::NotFound => Problem::not_found(),
        CustomersRejection::TooMuchKnown => {
            Problem::conflict("customers_full", "what is known of the customers takes as much as it can")
        }
        CustomersRejection::TooManyCustomers => {
            Problem::conflict("too_many_customers", "the organization has as many customers as it can")
        }
    }
}

pub(super) fn customer_data(rejection: CustomerDataRejection) -> Problem {
    match rejection {
        CustomerDataRejection::UnknownCustomer | CustomerDataRejection::NotFound => Problem::not_found(),
        CustomerDataRejection::TooManyDocuments => {
            Problem::conflict("too_many_documents", "there are as many documents as there can be")
        }
    }
}

pub(super) fn executions(rejection: ExecutionsRejection) -> Problem {
    match rejection {
        ExecutionsRejection::UnknownCustomer | ExecutionsRejection::NotFound => Problem::not_found(),
        ExecutionsRejection::UnknownEnvironment => {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        }
        ExecutionsRejection::CustomerSuspended => Denial::CustomerSuspended.problem(),
        ExecutionsRejection::Finished => Problem::conflict("execution_finished", "the execution has ended"),
        ExecutionsRejection::TooManyRunning => {
            Problem::conflict("too_many_executions", "as many executions run as can at once")
        }
    }
}

pub(super) fn secrets(rejection: SecretsRejection) -> Problem {
    match rejection {
        SecretsRejection::NotFound | SecretsRejection::VersionNotFound => Problem::not_found(),
        SecretsRejection::VersionDestroyed => {
            Problem::conflict("version_destroyed", "this version of the secret was destroyed")
        }
        SecretsRejection::NameTaken => {
            Problem::conflict("name_taken", "another secret has this name in the same place")
        }
        SecretsRejection::UnknownEnvironment => {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        }
        SecretsRejection::EnvironmentGone => {
            Problem::conflict("environment_gone", "the secret's environment is deleted; restore that first")
        }
        SecretsRejection::UnknownCustomer => {
            Problem::invalid_field("/customer", "unknown", "there is no such customer")
        }
        SecretsRejection::CustomerGone => {
            Problem::conflict("customer_gone", "the secret's customer is deleted; restore that first")
        }
        SecretsRejection::CustomerFull => Problem::conflict(
            "too_many_versions",
            "the customer's secrets have as many values as they can in all; destroy some",
        ),
        SecretsRejection::TooManySecrets => Problem::conflict(
            "too_many_secrets",
            "there are as many secrets in this place as it can have, deleted ones included",
        ),
        SecretsRejection::TooManyVersions => Problem::conflict(
            "too_many_versions",
            "the secret has as many versions as it can; destroy the oldest one",
        ),
    }
}

/// Of connections.
pub(super) fn connections(rejection: ConnectionsRejection) -> Problem {
    match rejection {
        ConnectionsRejection::NotFound | ConnectionsRejection::InvalidLink => Problem::not_found(),
        ConnectionsRejection::UnknownEnvironment => {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        }
        ConnectionsRejection::UnknownApp => {
            Problem::invalid_field("/oauth_app", "unknown", "there is no such OAuth app")
        }
        ConnectionsRejection::UnknownCustomer => {
            Problem::invalid_field("/customer", "unknown", "there is no such customer")
        }
        ConnectionsRejection::OtherKind => {
            Problem::conflict("other_kind", "the connection is of a kind that has none of that")
        }
        ConnectionsRejection::CustomerInactive => {
            Problem::conflict("customer_inactive", "the connection's customer is suspended or deleted")
        }
        ConnectionsRejection::NotRefreshable => {
            let message = "the provider gave nothing to refresh it with: somebody has to connect again";
            Problem::conflict("not_refreshable", message)
        }
        ConnectionsRejection::NameTaken => {
            Problem::conflict("name_taken", "another connection has this name there")
        }
        ConnectionsRejection::TooMany => {
            Problem::conflict("too_many_connections", "the environment has as many connections as it can")
        }
        ConnectionsRejection::CustomerFull => {
            Problem::conflict("customer_full", "the customer has as many connections as it can")
        }
        ConnectionsRejection::TooMuchSealed => {
            Problem::conflict("connections_full", "the connections' credentials take as much as they can")
        }
    }
}
