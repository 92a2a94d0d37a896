//! The e-mail domain of an organization: proven by DNS, asked about again, and lapsing.

use std::time::Duration;

use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::dns::Mood;
use crate::domain_users::{DOMAIN, RECORD};
use crate::server::{Somebody, TestServer};

const DAY: u64 = 24 * 3600;

impl TestServer {
    /// What DNS is asked today: the scheduler does so once a day.
    async fn ask_dns_again(&self) {
        let app = self.app();
        // The scheduler may be at it, whose round this one waits for.
        self.eventually(|| app.store.recheck_domains(&app.dns, app.store.clock().now())).await;
    }

    /// The settings as somebody sees them who logs in for it.
    async fn today(&self, owner: &Somebody) -> Value {
        self.general(&self.another_session(owner).await).await
    }

    async fn general(&self, owner: &Somebody) -> Value {
        self.get("/v1/general", owner).await.is(200).json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_verified_once_dns_has_its_record() {
    let (server, owner) = TestServer::set_up().await;
    server.verify_domain(&owner).await.is_problem(409, "no_email_domain");
    let challenge = server.set_domain(&owner, DOMAIN).await;
    assert_eq!(challenge["name"], RECORD);
    assert!(challenge["value"].as_str().unwrap().starts_with("settled-verification="));
    let version = server.version(owner.organization);
    server.verify_domain(&owner).await.is_problem(409, "email_domain_unproven");
    assert_eq!(server.version(owner.organization), version);
    assert_eq!(server.dns.asked(), [RECORD]);

    server.dns.add(RECORD, &["v=spf1 -all"]);
    server.verify_domain(&owner).await.is_problem(409, "email_domain_unproven");
    server.prove(&challenge);
    let verified = server.verify_domain(&owner).await.is(200);
    assert_eq!(verified.json()["email_domain_verified"], true);
    assert_eq!(verified.version(), version + 1);
    assert_eq!(server.general(&owner).await, verified.json());
    assert_eq!(server.verify_domain(&owner).await.is(200).version(), version + 1, "once");
    let rows = server.audit(&owner, "&action=organization.verify_domain").await;
    assert_eq!((rows.len(), &rows[0]["user"]["id"]), (1, &json!(owner.person)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_several_strings_is_one_text() {
    let (server, owner) = TestServer::set_up().await;
    let challenge = server.set_domain(&owner, DOMAIN).await;
    let (one, two) = challenge["value"].as_str().unwrap().split_at(9);
    server.dns.add(RECORD, &[one, two]);
    server.verify_domain(&owner).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_domain_is_unverified_again_and_what_is_not_ones_own_is_none() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let other = server.set_domain(&owner, "example.org").await;
    assert_eq!(server.general(&owner).await["email_domain_verified"], false);
    server.verify_domain(&owner).await.is_problem(409, "email_domain_unproven");
    // Back again it has another challenge: who has lost the domain meanwhile has lost it.
    let back = server.set_domain(&owner, DOMAIN).await;
    assert_ne!(back["value"], other["value"]);
    assert_eq!(server.general(&owner).await["email_domain_verified"], false);
    server.verify_domain(&owner).await.is_problem(409, "email_domain_unproven");
    let cases = [("gmail.com", "public_email_domain"), ("co.uk", "invalid"), ("www.example.com", "invalid")];
    for (domain, code) in cases {
        let answer = server.patch("/v1/general", &owner, &json!({"email_domain": domain})).await;
        assert_eq!(answer.is_problem(422, "invalid_request")["errors"][0]["code"], code, "{domain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dns_says_otherwise_is_a_no_and_told_to_nobody() {
    let (server, owner) = TestServer::set_up().await;
    let challenge = server.set_domain(&owner, DOMAIN).await;
    server.prove(&challenge);
    for mood in [Mood::Fails, Mood::Babbles, Mood::Silent] {
        server.dns.is(mood);
        let answer = tokio::time::timeout(Duration::from_secs(15), server.verify_domain(&owner)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{mood:?} keeps the caller waiting"));
        let problem = answer.is_problem(409, "email_domain_unproven");
        assert_eq!(problem["detail"], "DNS does not have the record, or not yet");
    }
    server.dns.is(Mood::Answers);
    server.verify_domain(&owner).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_verification_answers_as_the_first_did() {
    let (server, owner) = TestServer::set_up().await;
    let challenge = server.set_domain(&owner, DOMAIN).await;
    server.prove(&challenge);
    let key = [("idempotency-key", "k")];
    let path = "/v1/general/email-domain/verify";
    let verify = async || server.send(reqwest::Method::POST, path, &owner, &key, &json!({})).await;
    let first = verify().await.is(200);
    server.dns.remove(RECORD);
    let again = verify().await.is(200);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), first.json());
    assert_eq!(server.dns.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_dns_does_not_prove_for_a_week_lapses() {
    let (mut server, owner) = TestServer::set_up_manual().await;
    server.prove_domain(&owner).await;
    server.ask_dns_again().await;
    assert_eq!(server.dns.asked().len(), 1, "not before a day is over");
    let version = server.version(owner.organization);
    server.advance(DAY);
    server.ask_dns_again().await;
    server.ask_dns_again().await;
    assert_eq!(server.dns.asked().len(), 2, "once a day");
    assert_eq!(server.version(owner.organization), version, "what is as it was is no event");

    // A name server is away for some days: nobody is kept out, and it is said.
    server.dns.is(Mood::Fails);
    for _ in 0..3 {
        server.advance(DAY);
        server.ask_dns_again().await;
    }
    let general = server.today(&owner).await;
    assert_eq!(general["email_domain_verified"], true);
    assert!(general["email_domain_lapses_at"].is_string());
    assert_eq!(server.version(owner.organization), version + 2, "one event, and a session");
    server.dns.is(Mood::Answers);
    server.advance(DAY);
    server.ask_dns_again().await;
    let general = server.today(&owner).await;
    assert_eq!(
        (&general["email_domain_verified"], &general["email_domain_lapses_at"]),
        (&json!(true), &json!(null))
    );

    // The record goes for good; a start in between changes nothing.
    server.dns.remove(RECORD);
    for day in 0..8 {
        assert_eq!(server.today(&owner).await["email_domain_verified"], true, "day {day}");
        server.advance(DAY);
        if day == 4 {
            server.restart().await;
        }
        server.ask_dns_again().await;
    }
    let general = server.today(&owner).await;
    let owner = server.another_session(&owner).await;
    assert_eq!(
        (&general["email_domain_verified"], &general["email_domain"]),
        (&json!(false), &json!(DOMAIN))
    );
    let rows = server.audit(&owner, "&action=organization.*").await;
    let told: Vec<_> =
        rows.iter().map(|row| (row["action"].as_str().unwrap(), row["user"]["id"].as_str())).collect();
    let system = Some("system");
    let expected = [
        ("organization.lapse_domain", system),
        ("organization.check_domain", system),
        ("organization.verify_domain", system),
        ("organization.check_domain", system),
    ];
    assert_eq!(told[..4], expected);
    let asked = server.dns.asked().len();
    server.advance(DAY);
    server.ask_dns_again().await;
    assert_eq!(server.dns.asked().len(), asked, "what has lapsed is not asked about");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_asks_again_by_itself() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.prove_domain(&owner).await;
    server.advance(DAY + 60);
    server.eventually(async || server.dns.asked().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_way_in_needs_what_it_leads_to() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    server.patch("/v1/general", &owner, &json!({"join_role": "owner"})).await.is(200);
    for opens in [json!({"email_domain": DOMAIN}), json!({"auto_approve_domain_users": true})] {
        let problem = server.patch("/v1/general", &admin, &opens).await.is_problem(403, "forbidden");
        assert_eq!(problem["permission"], "organization:own");
    }
    let denied = server.audit(&owner, &format!("&outcome=denied&user={}", admin.person)).await;
    assert_eq!(denied.len(), 2);
    server.patch("/v1/general", &admin, &json!({"join_role": "admin"})).await.is(200);
    server.patch("/v1/general", &admin, &json!({"email_domain": DOMAIN})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_a_domain_back_and_no_proof_of_it() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let proven = server.version(owner.organization);
    server.patch("/v1/general", &owner, &json!({"email_domain": null})).await.is(200);
    let then = server.get(&format!("/v1/general?as_of={proven}"), &owner).await.is(200).json();
    assert_eq!(then["email_domain_verified"], true);
    let restore = json!({"as_of": proven, "scope": {"organization": true}, "dry_run": true});
    let planned = server.post("/v1/restore", Some(&owner), &restore).await.is(200);
    let plan = planned.json();
    assert_eq!(plan["cannot"][0]["why"], "proven_by_dns");
    let applied = json!({"as_of": proven, "scope": {"organization": true}});
    let etag = planned.etag();
    let if_match = [("if-match", etag.as_str())];
    server.send(reqwest::Method::POST, "/v1/restore", &owner, &if_match, &applied).await.is(200);
    let general = server.general(&owner).await;
    assert_eq!(
        (&general["email_domain"], &general["email_domain_verified"]),
        (&json!(DOMAIN), &json!(false))
    );
    server.verify_domain(&owner).await.is(200);
    let history = server.get(&format!("/v1/history/{}", owner.organization), &owner).await.is(200).json();
    let actions: Vec<_> = history["data"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert!(actions.contains(&&json!("organization.verify_domain")), "{actions:?}");
}
