//! The routes of customers, of their documents and of what runs for them.

use axum::routing::{delete, get, patch, post, put};

use crate::http::access::Access::{Environment, Organization};
use crate::http::{Route, route, row};
use crate::settings::roles::permission::Permission as P;
use crate::settings::{billing, customer_data, customers, executions};

pub(super) fn routes() -> Vec<Route> {
    let customer = "/v1/customers/{cus}";
    let limits = "/v1/customers/{cus}/limits";
    let document = "/v1/customers/{cus}/data/{key}";
    let executions_of = "/v1/customers/{cus}/executions";
    vec![
        route(
            row("GET", "/v1/customers", Organization(P::CustomerRead), "customer.read"),
            get(customers::listing::list),
        ),
        route(
            row("POST", "/v1/customers", Organization(P::CustomerManage), "customer.create"),
            post(customers::http::create),
        ),
        route(
            row("GET", customer, Organization(P::CustomerRead), "customer.read"),
            get(customers::http::show),
        ),
        route(
            row("PATCH", customer, Organization(P::CustomerManage), "customer.update"),
            patch(customers::patching::update),
        ),
        route(
            row("DELETE", customer, Organization(P::CustomerManage), "customer.delete"),
            delete(customers::http::delete),
        ),
        route(
            row("POST", "/v1/customers/{cus}/suspend", Organization(P::CustomerManage), "customer.suspend"),
            post(customers::http::suspend),
        ),
        route(
            row(
                "POST",
                "/v1/customers/{cus}/reactivate",
                Organization(P::CustomerManage),
                "customer.reactivate",
            ),
            post(customers::http::reactivate),
        ),
        route(
            row("POST", "/v1/customers/{cus}/erase", Organization(P::CustomerManage), "customer.erase"),
            post(customers::http::erase),
        ),
        route(
            row("GET", limits, Organization(P::BillingRead), "billing.read"),
            get(billing::customer_http::show),
        ),
        route(
            row("PUT", limits, Organization(P::BillingManage), "billing.set_customer_limit"),
            put(billing::customer_http::set),
        ),
        route(
            row("GET", "/v1/customers/{cus}/data", Organization(P::CustomerDataRead), "customer_data.read"),
            get(customer_data::http::list),
        ),
        route(
            row("GET", document, Organization(P::CustomerDataRead), "customer_data.read"),
            get(customer_data::http::show),
        ),
        route(
            row("PUT", document, Organization(P::CustomerDataWrite), "customer_data.set"),
            put(customer_data::http::put),
        ),
        route(
            row("DELETE", document, Organization(P::CustomerDataWrite), "customer_data.delete"),
            delete(customer_data::http::delete),
        ),
        route(
            row("GET", executions_of, Environment(P::ExecutionRead), "execution.read"),
            get(executions::listing::list),
        ),
        route(
            row("POST", executions_of, Environment(P::ExecutionWrite), "execution.start"),
            post(executions::http::start),
        ),
        route(
            row(
                "GET",
                "/v1/customers/{cus}/executions/{exe}",
                Environment(P::ExecutionRead),
                "execution.read",
            ),
            get(executions::http::show),
        ),
        route(
            row(
                "POST",
                "/v1/customers/{cus}/executions/{exe}/finish",
                Environment(P::ExecutionWrite),
                "execution.finish",
            ),
            post(executions::http::finish),
        ),
    ]
}
