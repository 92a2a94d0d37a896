//! `/v1/general/email-domain/verify`: DNS is asked whether the e-mail domain is the organization's.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::settings::general::challenge_name;
use crate::settings::general::command::{DomainChallenge, GeneralCommand};
use crate::settings::general::http::{GeneralBody, changed};

/// Asks DNS for the record that proves the e-mail domain, and verifies the domain if it is there; 409
/// `email_domain_unproven` where it is not.
#[utoipa::path(post, path = "/v1/general/email-domain/verify", tag = "general", responses(
    (status = 200, body = GeneralBody), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn verify(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let founded = call.settings().general.founded().ok_or_else(Problem::not_found)?;
    let held = founded.email_domain.as_ref();
    let held =
        held.ok_or_else(|| Problem::conflict("no_email_domain", "there is no e-mail domain to verify"))?;
    let asked = DomainChallenge { domain: held.domain.clone(), challenge: held.challenge.clone() };
    // A repeated request answers as the first did, whatever DNS says today.
    if !call.is_repeated() {
        let proven = app.dns.has_text(&challenge_name(&asked.domain), &asked.challenge).await;
        if !proven.map_err(|_busy| Problem::unavailable("overloaded", 5))? {
            let unproven = "DNS does not have the record, or not yet";
            return Err(Problem::conflict("email_domain_unproven", unproven));
        }
    }
    let done = call.submit(GeneralCommand::VerifyDomain(asked), StatusCode::OK).await?;
    changed(&call, &done)
}
