//! `/v1/people`: who belongs to the organization, and what others decide about them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::roles::ids;
use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};
use crate::sse::Reader;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

fn path(who: &Somebody) -> String {
    format!("/v1/people/{}", who.person)
}

impl TestServer {
    /// Suspends somebody, lets them in again, or erases them.
    async fn standing(&self, by: &Somebody, about: &Somebody, what: &str) -> Answer {
        self.post(&format!("{}/{what}", path(about)), Some(by), &json!({})).await
    }

    async fn listed(&self, who: &Somebody, query: &str) -> Vec<String> {
        ids(&self.get(&format!("/v1/people?{query}"), who).await.is(200).json())
    }

    /// Everything that the organization tells of a person, at a time or now.
    async fn told_of(&self, who: &Somebody, about: &Somebody, then: u64) -> String {
        let id = about.person;
        let mut told = String::new();
        for path in [
            "/v1/people".to_owned(),
            "/v1/people?status=removed".to_owned(),
            "/v1/people?status=erased".to_owned(),
            format!("/v1/people?as_of={then}"),
            format!("/v1/people/{id}?as_of={then}"),
            format!("/v1/history/{id}"),
            format!("/v1/diff?from=1&to={then}"),
            format!("/v1/audit?user={id}"),
            format!("/v1/audit?resource={id}"),
            "/v1/audit/facets".to_owned(),
            "/v1/audit/export?format=csv".to_owned(),
            "/v1/audit/export?format=ndjson".to_owned(),
            "/v1/events?limit=200".to_owned(),
            format!("/v1/access/explain?permission=config:read&as_of={then}"),
            format!("/v1/access/explain?permission=config:read&subject={id}"),
        ] {
            told.push_str(&self.get(&path, who).await.is(200).text);
        }
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_listed_by_status_team_and_what_they_are_called() {
    let (server, owner) = TestServer::set_up().await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam Sharp").await;
    let noor = server.add(owner.organization, "noor@example.org", "Noor").await;
    let id = |who: &Somebody| who.person.to_string();
    let shown = server.get(&path(&sam), &owner).await.is(200);
    let body = shown.json();
    assert_eq!(
        (&body["id"], &body["name"], &body["email"], &body["status"]),
        (&json!(id(&sam)), &json!("Sam Sharp"), &json!("sam@example.com"), &json!("active"))
    );
    assert_eq!(shown.etag(), format!("\"0-{}\"", body["version"]));
    let all = server.get("/v1/people", &owner).await.is(200).json();
    assert_eq!(all["data"][1], body);
    assert_eq!(ids(&all), [id(&owner), id(&sam), id(&noor)]);

    let first = server.get("/v1/people?limit=2", &owner).await.is(200).json();
    let rest = server.listed(&owner, &format!("cursor={}", text(&first["next_cursor"]))).await;
    assert_eq!([ids(&first), rest].concat(), ids(&all));
    for (q, found) in [("SHARP", vec![id(&sam)]), ("example.ORG", vec![id(&noor)]), ("nobody", vec![])] {
        assert_eq!(server.listed(&owner, &format!("q={q}")).await, found, "{q}");
    }
    server.patch("/v1/me", &sam, &json!({"name": "Sam Blunt"})).await.is(200);
    for (q, found) in [("sharp", vec![]), ("BLUNT", vec![id(&sam)]), ("example.org", vec![id(&noor)])] {
        assert_eq!(server.listed(&owner, &format!("q={q}")).await, found, "{q}, once more");
    }
    let team = server.team(&owner, "Core").await;
    server.add_member(&owner, &team, &noor).await;
    let with_noor = server.version(owner.organization);
    assert_eq!(server.listed(&owner, &format!("team={team}")).await, [id(&noor)]);
    server.standing(&owner, &sam, "suspend").await.is(200);
    server.delete(&path(&noor), &owner).await.is(204);
    for (query, found) in [
        ("status=suspended".to_owned(), vec![id(&sam)]),
        ("status=active".to_owned(), vec![id(&owner)]),
        ("status=removed".to_owned(), vec![id(&noor)]),
        ("status=erased".to_owned(), vec![]),
        (format!("team={team}"), vec![]),
        (format!("as_of={with_noor}&status=active"), ids(&all)),
        (format!("as_of={with_noor}&team={team}"), vec![id(&noor)]),
    ] {
        assert_eq!(server.listed(&owner, &query).await, found, "{query}");
    }
    for query in
        ["q=".to_owned(), format!("q=sam&as_of={with_noor}"), "team=team_x".to_owned(), "who=x".to_owned()]
    {
        server.get(&format!("/v1/people?{query}"), &owner).await.is_problem(422, "invalid_request");
    }
    let unknown = "/v1/people?team=team_01kqxk5rd0e5xrpzzv0jjq4zgn";
    server.get(unknown, &owner).await.is_problem(422, "invalid_request");
    for gone in [path(&noor), "/v1/people/usr_x".to_owned(), "/v1/people/x?as_of=y".to_owned()] {
        server.get(&gone, &owner).await.is_problem(404, "not_found");
    }
    assert_eq!(
        server.get(&format!("{}?as_of={with_noor}", path(&noor)), &owner).await.is(200).json()["name"],
        "Noor"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_is_out_at_once_and_comes_back_as_they_were() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let mut stream = Reader::open(server.base(), "/v1/audit/stream", &admin.token, None)
        .await
        .expect("the server answers");
    let suspended = server.standing(&owner, &admin, "suspend").await.is(200);
    assert_eq!(suspended.json()["status"], "suspended");
    let ended = tokio::time::timeout(SOON, async { while stream.next().await.is_some() {} });
    ended.await.expect("an open stream ends");
    assert_eq!(server.standing(&owner, &admin, "suspend").await.is(200).version(), suspended.version());
    server.get("/v1/me", &admin).await.is_problem(401, "unauthenticated");
    let named = json!({"email": admin.email, "password": PASSWORD, "organization": admin.organization});
    server.log_in(&named).await.is_problem(401, "login_failed");
    let nowhere = server.nowhere(&admin).await;
    let switch = json!({"organization": admin.organization});
    server.post("/v1/auth/switch", Some(&nowhere), &switch).await.is_problem(404, "not_found");
    let explain = format!("/v1/access/explain?permission=config:read&subject={}", admin.person);
    assert_eq!(server.get(&explain, &owner).await.is(200).json()["allowed"], false);
    let then = format!("{explain}&as_of={}", suspended.version() - 1);
    assert_eq!(server.get(&then, &owner).await.is(200).json()["allowed"], true);

    let back = server.standing(&owner, &admin, "reactivate").await.is(200);
    assert_eq!(back.json()["status"], "active");
    assert_eq!(server.standing(&owner, &admin, "reactivate").await.is(200).version(), back.version());
    server.get("/v1/me", &admin).await.is_problem(401, "unauthenticated");
    let again = server.another_session(&admin).await;
    server.get("/v1/audit", &again).await.is(200);
    let rows = server.get(&format!("/v1/history/{}", admin.person), &owner).await.is(200).json();
    let change = |row: usize| (&rows["data"][row]["action"], &rows["data"][row]["changes"][0]);
    let of = |from: bool| json!({"field": "suspended", "from": from, "to": !from});
    let of_logins =
        rows["data"].as_array().unwrap().iter().take_while(|row| row["action"] != "person.reactivate");
    let first = of_logins.count();
    assert_eq!(change(first), (&json!("person.reactivate"), &of(true)));
    assert_eq!(change(first + 1), (&json!("person.suspend"), &of(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_is_nobody_here_any_more_and_free_to_go() {
    let (server, owner) = TestServer::set_up().await;
    let sam = server.add_with_role(owner.organization, SystemRole::Developer).await;
    let with_sam = server.version(owner.organization);
    let stale = [("if-match", "\"0-1\"")];
    let stale = server.send(Method::DELETE, &path(&sam), &owner, &stale, &Value::Null).await;
    stale.is_problem(412, "precondition_failed");
    server.delete(&path(&sam), &owner).await.is(204);
    server.delete(&path(&sam), &owner).await.is_problem(404, "not_found");
    server.standing(&owner, &sam, "suspend").await.is_problem(404, "not_found");
    server.get("/v1/me", &sam).await.is_problem(401, "unauthenticated");
    assert_eq!(server.recorded("membership.end"), 1);
    let nowhere = server.nowhere(&sam).await;
    let farewell = json!({"password": PASSWORD});
    server.send(Method::DELETE, "/v1/me", &nowhere, &[], &farewell).await.is(204);

    // Nobody comes back, nor does what was theirs.
    let restore =
        json!({"as_of": with_sam, "scope": {"organization": true}, "include_access": true, "dry_run": true});
    let plan = server.post("/v1/restore", Some(&owner), &restore).await.is(200).json();
    assert_eq!((&plan["steps"], &plan["cannot"][0]["why"]), (&json!([]), &json!("person_gone")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_reads_as_an_erased_person_wherever_they_were() {
    let (mut server, owner) = TestServer::set_up().await;
    let (member, former) = (
        server.add(owner.organization, "zelda.quist@example.com", "Zelda Quist").await,
        server.add(owner.organization, "xaver.quist@example.com", "Xaver Quist").await,
    );
    for person in [&member, &former] {
        server.give(&owner, &person.person.to_string(), "auditor").await.is(201);
        server.patch("/v1/me", person, &json!({"name": format!("Dr. {} Quist", person.email)})).await.is(200);
    }
    let then = server.version(owner.organization);
    server.delete(&path(&former), &owner).await.is(204);
    let before = server.told_of(&owner, &member, then).await + &server.told_of(&owner, &former, then).await;
    assert!(
        before.contains("zelda.quist") && before.contains("Dr. xaver.quist"),
        "what is looked for shows before"
    );
    let total = server.get("/v1/audit", &owner).await.is(200).json()["total"].clone();
    for status in ["active", "removed"] {
        assert_eq!(server.listed(&owner, &format!("status={status}&q=quist")).await.len(), 1, "{status}");
    }
    for person in [&member, &former] {
        let erased = server.standing(&owner, person, "erase").await.is(200);
        let body = erased.json();
        assert_eq!(
            (&body["name"], &body["email"], &body["status"]),
            (&json!("erased person"), &Value::Null, &json!("erased"))
        );
        assert_eq!(
            server.standing(&owner, person, "erase").await.is(200).version(),
            erased.version(),
            "once"
        );
        server.get("/v1/me", person).await.is_problem(401, "unauthenticated");
    }
    for restarted in [false, true] {
        if restarted {
            server.restart().await;
        }
        for person in [&member, &former] {
            let told = server.told_of(&owner, person, then).await;
            assert!(!told.to_lowercase().contains("quist"), "{told}");
            assert!(told.contains("erased person"));
        }
        for status in ["", "status=removed&", "status=erased&"] {
            assert_eq!(server.listed(&owner, &format!("{status}q=quist")).await, [""; 0]);
        }
        assert_eq!(
            server.listed(&owner, "status=erased").await,
            [&member, &former].map(|who| who.person.to_string())
        );
    }
    let after = server.get("/v1/audit", &owner).await.is(200).json()["total"].clone();
    assert!(after.as_u64() > total.as_u64(), "nothing of history went");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_stays_and_nobody_decides_about_themselves() {
    let (server, owner) = TestServer::set_up().await;
    let reach = async |by: &Somebody, about: &Somebody, status: u16, code: &str| {
        server.delete(&path(about), by).await.is_problem(status, code);
        for what in ["suspend", "erase"] {
            server.standing(by, about, what).await.is_problem(status, code);
        }
    };
    reach(&owner, &owner, 409, "last_owner").await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    reach(&admin, &owner, 403, "above_your_rights").await;
    reach(&admin, &admin, 409, "yourself").await;
    let second = server.add_with_role(owner.organization, SystemRole::Owner).await;
    server.standing(&owner, &second, "suspend").await.is(200);
    reach(&owner, &owner, 409, "last_owner").await;
    server.post("/v1/me/leave", Some(&owner), &json!({})).await.is_problem(409, "last_owner");
    reach(&admin, &second, 403, "above_your_rights").await;
    server.standing(&admin, &second, "reactivate").await.is_problem(403, "above_your_rights");
    server.standing(&owner, &second, "reactivate").await.is(200);
    reach(&owner, &owner, 409, "yourself").await;
    assert_eq!(server.audit(&owner, "&outcome=denied&action=person.*").await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_remove_each_other_one_stays() {
    for what in ["remove", "suspend", "erase"] {
        let (server, owner) = TestServer::set_up().await;
        let other = server.add_with_role(owner.organization, SystemRole::Owner).await;
        let act = async |by: &Somebody, about: &Somebody| match what {
            "remove" => server.delete(&path(about), by).await,
            _ => server.standing(by, about, what).await,
        };
        let (one, two) = tokio::join!(act(&owner, &other), act(&other, &owner));
        let went = [&one, &two].iter().filter(|answer| answer.status < 300).count();
        assert_eq!(went, 1, "{what}: {} {}, {} {}", one.status, one.text, two.status, two.text);
        let refused = if one.status < 300 { two } else { one };
        assert!([401, 403].contains(&refused.status), "{what}: {}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_somebody_is_erased_is_answered_as_before_or_as_after() {
    let (server, owner) = TestServer::set_up().await;
    for number in 0..5 {
        let who = server.add(owner.organization, &format!("q{number}@example.com"), "Quincy Quist").await;
        let (id, done) = (who.person.to_string(), std::sync::atomic::AtomicBool::new(false));
        let paths = [
            (&owner, path(&who)),
            (&owner, "/v1/people?limit=200".to_owned()),
            (&owner, "/v1/people?status=erased".to_owned()),
            (&owner, format!("/v1/audit?resource={id}")),
            (&who, "/v1/me".to_owned()),
            (&who, "/v1/me/sessions".to_owned()),
        ];
        let readers = futures_util::future::join_all(paths.iter().map(async |(by, path)| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = server.get(path, by).await;
                let whole = match answer.status {
                    200 => answer.text.contains("Quist") || !answer.text.contains(&id),
                    404 | 401 => true,
                    _ => false,
                };
                let forgotten = answer.text.contains("erased person") || *path == "/v1/me/sessions";
                assert!(
                    whole || forgotten && answer.status == 200,
                    "{path}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }));
        let erasing = async {
            server.standing(&owner, &who, "erase").await.is(200);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        tokio::join!(readers, erasing);
    }
}
