//! What people write into settings: names, keys and values, of the lengths that they have in practice.

use serde_json::{Value, json};
use settled::log::canonical::canonical_json;

use super::dice::Dice;

const FIRST: &[&str] = &[
    "Ada", "Grace", "Olive", "Noor", "Jun", "Mateo", "Ines", "Tariq", "Lena", "Wei", "Amara", "Piotr",
    "Sofia", "Kofi", "Yuki", "Leila", "Bram", "Chidi", "Elif", "Rosa",
];
const LAST: &[&str] = &[
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Tanaka",
    "Silva",
    "Novak",
    "Haddad",
    "Keller",
    "Byrne",
    "Costa",
    "Ivanov",
    "Mensah",
    "Park",
    "Rossi",
    "Singh",
    "Weber",
];
const SYSTEMS: &[&str] = &[
    "API", "DATABASE", "CACHE", "MAIL", "QUEUE", "SEARCH", "BILLING", "FEATURE", "STORAGE", "AUTH",
    "REPORTS", "GATEWAY", "WEBHOOK", "METRICS", "IMPORT", "CHECKOUT",
];
const PROPERTIES: &[&str] = &[
    "URL",
    "HOST",
    "PORT",
    "TIMEOUT_MS",
    "RETRIES",
    "ENABLED",
    "LIMIT",
    "REGION",
    "BUCKET",
    "LEVEL",
    "OWNER",
    "RULES",
];
const ENVIRONMENTS: &[&str] = &[
    "Production",
    "Staging",
    "Development",
    "Preview",
    "Load test",
    "Demo",
    "Canary",
    "Training",
    "Sandbox",
    "Partners",
    "Europe",
    "Asia",
];
const TEAMS: &[&str] =
    &["Platform", "Payments", "Support", "Data", "Mobile", "Web", "Operations", "Security"];
const ROLES: &[&str] = &["Release manager", "Support engineer", "Analyst", "Contractor", "On call"];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "deploy/2.4 (+https://ci.example.com)",
];
const PURPOSES: &[&str] = &[
    "what customers use",
    "what goes out next week",
    "for whoever tries something",
    "measured against production",
    "kept like production, without its data",
];
const REASONS: &[&str] = &[
    "the provider moves its endpoint on Monday",
    "asked for in the incident review",
    "a limit was too low for the sale",
    "clean up after the migration",
    "back to what it was",
];
const TIMEZONES: &[&str] = &["Europe/Berlin", "Europe/Paris", "America/New_York", "Asia/Tokyo", "UTC"];

const DOCUMENTS: &[&str] = &[
    "profile",
    "sync-state",
    "mapping.orders",
    "mapping.contacts",
    "billing",
    "preferences",
    "import-cursor",
    "export-cursor",
    "features",
    "webhooks",
    "retention",
    "branding",
];
const WORKFLOWS: &[&str] = &["crm/sync", "orders/import", "invoices/send", "contacts/merge", "reports/daily"];
const FAILURES: &[&str] = &[
    "the provider answered 503",
    "the token was refused",
    "a record has no e-mail address",
    "gave up after 5 attempts",
];
const PROVIDERS: &[(&str, &[&str])] = &[
    ("github", &["read:user", "repo"]),
    ("google", &["openid", "email"]),
    ("hubspot", &["crm.objects.contacts.read"]),
    ("slack", &["channels:read", "chat:write"]),
    ("linear", &["read"]),
    ("salesforce", &["api", "refresh_token"]),
];

/// How many keys there are: an environment has at most so many values.
pub const KEYS: usize = SYSTEMS.len() * PROPERTIES.len();

/// A person's name.
pub fn person(dice: &mut Dice) -> String {
    format!("{} {}", one(dice, FIRST), one(dice, LAST))
}

/// An organization's name; `number` makes it the only one.
pub fn organization(number: usize, dice: &mut Dice) -> String {
    format!("{} & {} {number}", one(dice, LAST), one(dice, LAST))
}

/// An environment's name and slug; the first three are those that everybody has.
pub fn environment(number: usize) -> (String, String) {
    let name = numbered(ENVIRONMENTS, number);
    let slug = name.to_lowercase().replace(' ', "-");
    (name, slug)
}

/// A team's name; `number` makes it the only one.
pub fn team(number: usize) -> String {
    numbered(TEAMS, number)
}

/// A custom role's name; `number` makes it the only one.
pub fn role(number: usize) -> String {
    numbered(ROLES, number)
}

fn numbered(names: &[&str], number: usize) -> String {
    let name = names[number % names.len()];
    if number < names.len() { name.to_owned() } else { format!("{name} {number}") }
}

/// What an environment is for.
pub fn purpose(dice: &mut Dice) -> &'static str {
    one(dice, PURPOSES)
}

/// A configuration key by its number below [`KEYS`].
pub fn key(number: usize) -> String {
    let (system, property) = (number / PROPERTIES.len(), number % PROPERTIES.len());
    format!("{}_{}", SYSTEMS[system % SYSTEMS.len()], PROPERTIES[property])
}

/// A secret's name by its number: no two are the same.
pub fn secret(number: usize) -> String {
    let system = SYSTEMS[number % SYSTEMS.len()];
    match number / SYSTEMS.len() {
        0 => format!("{system}_TOKEN"),
        round => format!("{system}_TOKEN_{round}"),
    }
}

/// A value for a key, as canonical JSON text.
pub fn value(number: usize, dice: &mut Dice) -> String {
    let host =
        |dice: &mut Dice| format!("{}-{:04x}.internal.example.com", one(dice, SYSTEMS), dice.below(65_536));
    let value: Value = match PROPERTIES[number % PROPERTIES.len()] {
        "URL" => json!(format!("https://{}/v{}/", host(dice).to_lowercase(), dice.below(9))),
        "HOST" => json!(host(dice).to_lowercase()),
        "PORT" => json!(1_024 + dice.below(40_000)),
        "TIMEOUT_MS" => json!(100 * (1 + dice.below(600))),
        "RETRIES" => json!(dice.below(50)),
        "ENABLED" => json!(dice.happens(500)),
        "LIMIT" => json!(10 * dice.below(100_000)),
        "REGION" => json!(format!("{}-{}", one(dice, &["eu-west", "us-east", "ap-south"]), dice.below(9))),
        "BUCKET" => json!(format!("{}-{:08x}", one(dice, LAST).to_lowercase(), dice.below(1 << 31))),
        "RULES" => rules(dice),
        "OWNER" => json!(format!("{} ({:x})", person(dice), dice.below(65_536))),
        _ => json!(format!("{}-{}", one(dice, &["error", "warn", "info", "debug"]), dice.below(1_000))),
    };
    canonical_json(&value)
}

/// What a program is told as JSON: some hundred bytes.
fn rules(dice: &mut Dice) -> Value {
    let count = 2 + dice.below(6);
    let rule = |_| {
        json!({
            "match": format!("/{}/{:x}/*", one(dice, SYSTEMS).to_lowercase(), dice.below(65_536)),
            "limit": dice.below(10_000),
            "to": one(dice, ENVIRONMENTS),
        })
    };
    json!((0..count).map(rule).collect::<Vec<_>>())
}

/// A customer's name; `number` makes it the only one.
pub fn customer(number: usize, dice: &mut Dice) -> String {
    format!("{} {} {number}", one(dice, LAST), one(dice, &["GmbH", "Ltd", "Inc.", "SARL", "& Sons", "AB"]))
}

/// A customer's tags, as the text of one JSON object.
pub fn tags(dice: &mut Dice) -> String {
    let (plan, region) =
        (one(dice, &["free", "pro", "scale"]), one(dice, &["eu-west", "us-east", "ap-south"]));
    canonical_json(&json!({"plan": plan, "region": region}))
}

/// What else is noted of a customer, as the text of one JSON object.
pub fn metadata(dice: &mut Dice) -> String {
    canonical_json(&json!({"contact": person(dice), "seats": dice.below(500), "since": 2018 + dice.below(8)}))
}

/// The key of a customer's document by its number.
pub fn document_key(number: usize) -> &'static str {
    DOCUMENTS[number % DOCUMENTS.len()]
}

/// What a customer's document says, as the text of JSON.
pub fn document(dice: &mut Dice) -> String {
    let cursor = format!("{:016x}", dice.number());
    // Most are where a synchronization was when it stopped; some say how it is to go on.
    let document = if dice.happens(150) {
        json!({"cursor": cursor, "rules": rules(dice)})
    } else {
        json!({"cursor": cursor})
    };
    canonical_json(&document)
}

/// What a workflow is called.
pub fn workflow(dice: &mut Dice) -> &'static str {
    one(dice, WORKFLOWS)
}

/// What sets a workflow off.
pub fn trigger(dice: &mut Dice) -> &'static str {
    one(dice, &["schedule", "webhook", "manual", "retry"])
}

/// What went wrong.
pub fn failure(dice: &mut Dice) -> &'static str {
    one(dice, FAILURES)
}

/// What an execution used, as the text of one JSON object.
pub fn usage(dice: &mut Dice) -> String {
    canonical_json(&json!({"records": dice.below(20_000), "requests": dice.below(400)}))
}

/// An OAuth provider of the catalogue, and what is asked for there.
pub fn provider(dice: &mut Dice) -> (&'static str, &'static [&'static str]) {
    PROVIDERS[dice.below(PROVIDERS.len())]
}

/// What a connection is called, by its number: no two are the same.
pub fn connection(number: usize) -> String {
    let (provider, _) = PROVIDERS[number % PROVIDERS.len()];
    format!("{provider}-{number}")
}

/// What a program is called.
pub fn program(dice: &mut Dice) -> String {
    format!("{} {}", one(dice, SYSTEMS).to_lowercase(), one(dice, &["worker", "deploy", "cron", "importer"]))
}

/// Why something was changed.
pub fn reason(dice: &mut Dice) -> &'static str {
    one(dice, REASONS)
}

/// A client's user agent.
pub fn user_agent(dice: &mut Dice) -> &'static str {
    one(dice, AGENTS)
}

/// A client's address, of those that documents may use (RFC 5737).
pub fn address(dice: &mut Dice) -> String {
    format!("203.0.113.{}", dice.below(256))
}

/// A time zone.
pub fn timezone(dice: &mut Dice) -> &'static str {
    one(dice, TIMEZONES)
}

fn one(dice: &mut Dice, all: &[&'static str]) -> &'static str {
    dice.pick(all).copied().unwrap_or_default()
}
