//! What many operations have alike, told once and referred to: the headers that they take and answer with, and the answers that
//! are the server's and not the route's. Which operation has which follows from its row in the table of routes and from what it
//! answers, so that no annotation has to repeat it.

use utoipa::Modify;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{
    Components, Content, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};

use crate::http::access::{Access, Row};
use crate::http::openapi::operation;
use crate::http::routes;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";
const SETTLED_MIN_VERSION: &str = "Settled-Min-Version";
const SETTLED_REASON: &str = "Settled-Reason";

/// Headers of requests, and what each says.
const TAKEN: [(&str, Type, &str); 5] = [
    (
        IDEMPOTENCY_KEY,
        Type::String,
        "1 to 255 visible ASCII characters: for 24 hours the same request of the same caller under the same key is done once, and \
         answered as the first time.",
    ),
    (
        IF_MATCH,
        Type::String,
        "An entity tag as `ETag` told it: 412 unless what is changed is still as it was then.",
    ),
    (IF_NONE_MATCH, Type::String, "`*`: 412 where there is already what is to be made."),
    (
        SETTLED_MIN_VERSION,
        Type::Integer,
        "The least version of the organization's stream to answer from, as `Settled-Version` told it: 503 `not_yet` before.",
    ),
    (SETTLED_REASON, Type::String, "Why, percent-encoded, at most 500 characters; recorded with the event."),
];

/// Headers of answers, and what each says.
const TOLD: [(&str, Type, &str); 11] = [
    ("ETag", Type::String, "The entity tag of what is shown: `\"<epoch>-<version>\"`."),
    ("Idempotency-Replayed", Type::String, "`true`: the request was done before, and this is its answer."),
    ("Location", Type::String, "The path of what was made."),
    (
        "RateLimit",
        Type::String,
        "Of an API key with a limit: how many requests are left, and for how many seconds.",
    ),
    ("RateLimit-Policy", Type::String, "Of an API key with a limit: how many requests in how many seconds."),
    ("Retry-After", Type::Integer, "After how many seconds to ask again: with 429 and 503."),
    ("Settled-As-Of-Version", Type::Integer, "With `as_of`: the version that the answer is about."),
    ("Settled-Version", Type::Integer, "The version of the organization's stream that the answer is from."),
    ("WWW-Authenticate", Type::String, "With 401: how to say who asks."),
    ("Allow", Type::String, "With 405: the methods that there are."),
    ("x-request-id", Type::String, "The request's id: its own, or one that it was given."),
];

/// What is recorded of whoever takes events out.
const EXPORT: &str = "audit.export";

/// Answers of the server that a route does not name, with their component's name.
const OVERLOADED: (&str, &str) =
    ("Unavailable", "It cannot be done now: `Retry-After` says when to ask again.");
const NO_ROOM: (&str, &str) = ("NoRoom", "The disk is nearly full: reading, revoking and logging out go on.");

/// Tagged, although their bodies have no version of their own.
const ALSO_TAGGED: [(&str, &str); 7] = [
    ("GET", "/v1/environments/{env}/config"),
    ("PATCH", "/v1/environments/{env}/config"),
    ("POST", "/v1/connections"),
    ("POST", "/v1/connections/{con}/reconnect"),
    ("GET", "/v1/me"),
    ("PATCH", "/v1/me"),
    ("POST", "/v1/me/password"),
];

/// Not tagged: the version that it tells is an event's.
const NOT_TAGGED: &str = "/v1/proof/inclusion";

/// The headers and answers that operations have alike.
pub(super) struct Alike;

impl Modify for Alike {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, kind, description) in TAKEN {
            components.parameters.insert(name.to_owned(), parameter(name, kind, description).into());
        }
        for (name, kind, description) in TOLD {
            let header = HeaderBuilder::new().schema(Some(plain(kind))).description(Some(description));
            components.headers.insert(name.to_owned(), header.build().into());
        }
        for (name, description) in [OVERLOADED, NO_ROOM] {
            components.responses.insert(name.to_owned(), problem(description).into());
        }
        for row in routes().iter().map(|route| route.row) {
            let item = document.paths.paths.get_mut(row.path);
            if let Some(operation) = item.and_then(|item| operation(item, row.method)) {
                takes(operation, row);
                tells(operation, row, components);
                may_fail(operation, row);
            }
        }
    }
}

fn parameter(name: &str, kind: Type, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(plain(kind)))
        .build()
}

fn plain(kind: Type) -> Object {
    ObjectBuilder::new().schema_type(kind).build()
}

fn problem(description: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("Problem")));
    let response = ResponseBuilder::new().description(description).content("application/problem+json", body);
    response
        .header_ref("Retry-After", told("Retry-After"))
        .header_ref("x-request-id", told("x-request-id"))
        .build()
}

fn told(header: &str) -> Ref {
    Ref::new(format!("#/components/headers/{header}"))
}

/// Adds the headers that a request may have.
fn takes(operation: &mut Operation, row: Row) {
    if row.access == Access::Public {
        return;
    }
    let is_unsafe = row.method != "GET";
    // An export is an event, too.
    let is_told_why = is_unsafe || row.attempt == EXPORT;
    let is_own = matches!(row.access, Access::OwnAccount | Access::Founder);
    let makes = operation.responses.responses.contains_key("201");
    let is_refresh = row.path.ends_with("/refresh");
    // What logs in or out, shows a value, or only asks a provider is done each time that it is asked for.
    let is_anew = row.path.starts_with("/v1/auth/") || row.path.ends_with("/reveal") || is_refresh;
    let takes = [
        (IDEMPOTENCY_KEY, matches!(row.method, "POST" | "PATCH") && !is_anew),
        (IF_MATCH, is_unsafe && !is_own && !(row.method == "POST" && makes)),
        (IF_NONE_MATCH, row.method == "PUT" && makes),
        (SETTLED_MIN_VERSION, true),
        (SETTLED_REASON, is_told_why && !is_refresh && (row.method, row.path) != ("DELETE", "/v1/me")),
    ];
    let taken = takes.into_iter().filter(|(_, takes)| *takes);
    let parameters = taken.map(|(name, _)| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}"))));
    operation.parameters.get_or_insert_default().extend(parameters);
}

/// Adds the headers that its answers may have.
fn tells(operation: &mut Operation, row: Row, components: &Components) {
    let parameters = operation.parameters.iter().flatten();
    let is_of_the_past = parameters
        .clone()
        .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == "as_of"));
    let is_done_once = parameters
        .clone()
        .any(|parameter| matches!(parameter, RefOr::Ref(of) if of.ref_location.ends_with(IDEMPOTENCY_KEY)));
    let is_known = row.access != Access::Public;
    let is_programs = row.access.permission().is_some();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        // Of what a client has already, 304 says as much as 200 does.
        let is_success = status.starts_with('2') || status == "304";
        let is_tagged = is_known && row.path != NOT_TAGGED && has_version(response, components)
            || ALSO_TAGGED.contains(&(row.method, row.path));
        let tells = [
            ("ETag", is_success && is_tagged),
            ("Idempotency-Replayed", is_success && is_done_once),
            ("Location", status == "201" && is_known),
            ("RateLimit", is_programs),
            ("RateLimit-Policy", is_programs),
            ("Allow", !is_success),
            ("Retry-After", !is_success),
            ("Settled-As-Of-Version", is_success && is_of_the_past),
            ("Settled-Version", is_known),
            ("WWW-Authenticate", !is_success && is_known),
            ("x-request-id", true),
        ];
        for (name, _) in tells.into_iter().filter(|(_, tells)| *tells) {
            response.headers.insert(name.to_owned(), RefOr::Ref(told(name)));
        }
    }
}

/// Adds the answers that are the server's.
fn may_fail(operation: &mut Operation, row: Row) {
    let writes = row.method != "GET";
    // What programs and exports read is recorded before it leaves.
    let is_recorded = matches!(row.access, Access::Program(_)) || row.attempt == EXPORT;
    let fails = [
        ("503", OVERLOADED, writes || row.access != Access::Public),
        ("507", NO_ROOM, writes || is_recorded),
    ];
    for (status, (component, _), _) in fails.into_iter().filter(|(.., fails)| *fails) {
        let response = Ref::from_response_name(component);
        operation.responses.responses.insert(status.to_owned(), response.into());
    }
}

/// Whether a body tells the version of what it shows.
fn has_version(response: &Response, components: &Components) -> bool {
    response.content.values().any(|content| {
        let RefOr::T(content) = content else { return false };
        content.schema.as_ref().is_some_and(|schema| names_version(schema, components))
    })
}

fn names_version(schema: &RefOr<Schema>, components: &Components) -> bool {
    match schema {
        RefOr::Ref(of) => {
            let name = of.ref_location.rsplit('/').next().unwrap_or_default();
            components.schemas.get(name).is_some_and(|schema| names_version(schema, components))
        }
        RefOr::T(Schema::Object(object)) => object.properties.contains_key("version"),
        RefOr::T(Schema::AllOf(all)) => all.items.iter().any(|item| names_version(item, components)),
        RefOr::T(_) => false,
    }
}
