//! `POST /v1/me/leave` and `DELETE /v1/me`: going from an organization, and from the server.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::{Actor, ActorId};
use crate::causes::with_causes;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::caller::SessionCaller;
use crate::http::client::Peer;
use crate::http::input::{Nothing, RawBody};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::{OrganizationId, UserId};
use crate::platform::accounts::command::{AccountsCommand, DeleteAccount, EndMembership};
use crate::platform::accounts::http::SecretText;
use crate::platform::accounts::own::OwnRequest;
use crate::platform::accounts::{claim, login, open_email};
use crate::settings::people::command::PeopleCommand;
use crate::store::Submission;

/// The present password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Farewell {
    /// The present password.
    password: SecretText,
}

/// Leaves the organization: roles and sessions there end. The last Owner stays (409 `last_owner`).
#[utoipa::path(post, path = "/v1/me/leave", tag = "account", responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn leave(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let ActorId::Person(person) = call.caller.actor.id else { return Err(Problem::unauthenticated()) };
    let organization = call.organization.id;
    let done = call.submit(PeopleCommand::Leave(person), StatusCode::NO_CONTENT).await?;
    end_membership(&app, organization, person).await;
    Ok(call.no_content(&done))
}

/// Tells the platform that somebody is no member any more. The organization has decided; until the platform knows, it
/// holds a hint that leads nowhere.
pub async fn end_membership(app: &App, organization: OrganizationId, person: UserId) {
    let end = AccountsCommand::EndMembership(EndMembership { organization, person });
    if let Err(error) = app.store.execute(app.store.platform(), Submission::new(end, Actor::SYSTEM)).await {
        tracing::warn!(error = with_causes(&error), "who left an organization is still paired with it");
    }
}

/// Deletes the caller's account, with its key: what was sealed under it is gone. It must have left every organization (409
/// `memberships_left`).
#[utoipa::path(delete, path = "/v1/me", tag = "account", request_body = Farewell, responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let farewell: Farewell = body.parse()?;
    let own = OwnRequest::of(&app, &caller)?;
    own.verify((peer, &headers), "/password", farewell.password).await?;
    let account = &own.account;
    let command = async || {
        let (verified_generation, left) = (account.generation, login::left(&app, account).await?);
        Ok::<_, Problem>(DeleteAccount { account: account.id, verified_generation, left })
    };
    // Before anything is taken back: whoever stays goes on waiting where they wait.
    command().await?.check(app.store.platform().view().platform())?;
    // Before the account goes: nobody is to let in whom there is no account behind. Who is let in somewhere meanwhile
    // stays, and has to ask again elsewhere.
    for (organization, person) in &account.persons {
        if let Some(handle) = app.store.organization(*organization).await? {
            let actor = Actor { id: ActorId::Person(*person), session: None };
            app.store.withdraw_request(&handle, *person, actor).await?;
        }
    }
    let command = AccountsCommand::Delete(command().await?);
    let mut submission = own.submission(command);
    submission.releases =
        vec![claim(app.store.hasher(), &open_email(account, app.store.ring())?, account.id)];
    own.submit(submission).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
