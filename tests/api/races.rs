//! The same asked for over 64 connections at once: one outcome, and everybody is told which.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

const CONNECTIONS: usize = 64;

/// Asks for all of it at once, each on a connection of its own.
async fn at_once(server: &TestServer, who: &Somebody, asked: Vec<(Method, String, Value)>) -> Vec<Answer> {
    let sent = asked.iter().map(|(method, path, body)| server.send(method.clone(), path, who, &[], body));
    join_all(sent).await
}

fn how_many(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

impl TestServer {
    /// How many memberships are to be.
    fn to_join(&self) -> usize {
        self.app().store.platform().view().platform().memberships.open().count()
    }

    /// Waits for that, a while.
    async fn until_somebody_is_to_join(&self) {
        for _ in 0..100_000 {
            if self.to_join() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// One of them has it; all others are told that it is taken.
fn one_has_it(answers: &[Answer], status: u16) {
    assert_eq!(how_many(answers, status), 1);
    for answer in answers.iter().filter(|answer| answer.status != status) {
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("name_taken")), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_want_a_name_one_gets_it() {
    let (server, owner) = TestServer::set_up().await;
    for (list, new) in [
        ("/v1/teams", json!({"name": "Core"})),
        ("/v1/roles", json!({"name": "Core", "permissions": ["config:read"]})),
    ] {
        let asked = vec![(Method::POST, list.to_owned(), new.clone()); CONNECTIONS];
        one_has_it(&at_once(&server, &owner, asked).await, 201);

        let mut asked = Vec::new();
        for number in 0..CONNECTIONS {
            let mut other = new.clone();
            other["name"] = json!(format!("Other {number}"));
            let made = server.post(list, Some(&owner), &other).await.is(201).json();
            // In any case of its letters it is one name.
            let name = if number % 2 == 0 { "Wanted" } else { "WANTED" };
            asked.push((Method::PATCH, format!("{list}/{}", text(&made["id"])), json!({"name": name})));
        }
        one_has_it(&at_once(&server, &owner, asked).await, 200);
        let mut names = Vec::new();
        let page = server.get(&format!("{list}?limit=200"), &owner).await.is(200).json();
        names.extend(page["data"].as_array().unwrap().iter().map(|row| text(&row["name"]).to_lowercase()));
        for name in ["core", "wanted"] {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{names:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_give_a_role_one_gives_it() {
    let (server, owner) = TestServer::set_up().await;
    let team = server.team(&owner, "Core").await;
    let given = json!({"subject": team, "role": "viewer"});
    let asked = vec![(Method::POST, "/v1/role-assignments".to_owned(), given); CONNECTIONS];
    let answers = at_once(&server, &owner, asked).await;
    assert_eq!((how_many(&answers, 201), how_many(&answers, 200)), (1, CONNECTIONS - 1));
    let one = text(&answers[0].json()["id"]);
    assert!(answers.iter().all(|answer| answer.json()["id"] == one), "all are told of the one that there is");

    let path = format!("/v1/role-assignments/{one}");
    let answers = at_once(&server, &owner, vec![(Method::DELETE, path, Value::Null); CONNECTIONS]).await;
    assert_eq!((how_many(&answers, 204), how_many(&answers, 404)), (1, CONNECTIONS - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_given_or_goes_and_never_both() {
    let (server, owner) = TestServer::set_up().await;
    let team = server.team(&owner, "Core").await;
    for round in 0..8 {
        let role = server.role(&owner, &format!("Role {round}"), &["config:read"]).await;
        let given = (Method::POST, "/v1/role-assignments".to_owned(), json!({"subject": team, "role": role}));
        let gone = (Method::DELETE, format!("/v1/roles/{role}"), Value::Null);
        let asked = (0..CONNECTIONS).map(|number| if number % 2 == 0 { gone.clone() } else { given.clone() });
        let answers = at_once(&server, &owner, asked.collect()).await;
        let (deletes, gifts): (Vec<_>, Vec<_>) =
            answers.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
        let of = |answers: &[(usize, Answer)], status| {
            answers.iter().filter(|(_, answer)| answer.status == status).count()
        };
        let half = CONNECTIONS / 2;
        let outcome = (of(&deletes, 204), of(&deletes, 409), of(&gifts, 201), of(&gifts, 422));
        let went = outcome.0 == 1 && of(&deletes, 404) == half - 1 && outcome.3 == half;
        let stayed = outcome.1 == half && outcome.2 == 1 && of(&gifts, 200) == half - 1;
        assert!(went != stayed, "{outcome:?}");
        let status = server.get(&format!("/v1/roles/{role}"), &owner).await.status;
        assert_eq!(status, if went { 404 } else { 200 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_accepted_or_taken_back_and_never_both() {
    let (server, owner) = TestServer::set_up().await;
    for round in 0..12 {
        // An account of its own: a session accepts without a password, so that all that meet are the two streams.
        let email = format!("p{round}@example.com");
        server.add_account(&email, "Nora").await;
        let login = server.log_in(&json!({"email": email, "password": PASSWORD})).await.is(200).json();
        let nora = Somebody { token: text(&login["token"]), ..owner.clone() };
        let invited = json!({"email": email, "role": "viewer"});
        let invited = server.post("/v1/invitations", Some(&owner), &invited).await.is(201).json();
        let path = format!("/v1/invitations/{}", text(&invited["id"]));
        let token = json!({"token": server.mail_to(&email, 1).await.token()});

        let somebody_else = json!({"email": format!("q{round}@example.com"), "role": "viewer"});
        let revoke = async {
            // As they come, or in the midst of an acceptance.
            if round % 2 == 0 {
                server.until_somebody_is_to_join().await;
            }
            server.delete(&path, &owner).await
        };
        let accept = || server.post("/v1/auth/invitations/accept", Some(&nora), &token);
        let (revoked, acceptances, other) = tokio::join!(
            revoke,
            join_all((0..CONNECTIONS).map(|_| accept())),
            server.post("/v1/invitations", Some(&owner), &somebody_else),
        );
        other.is(201);
        assert!([204, 404].contains(&revoked.status), "{}", revoked.text);
        for answer in acceptances.iter().filter(|answer| answer.status != 200) {
            assert!([409, 422].contains(&answer.status), "{}", answer.text);
        }
        let joined = how_many(&acceptances, 200);
        assert_eq!(joined + usize::from(revoked.status == 204), 1, "{joined} accepted it");
        let people = server.get("/v1/people?limit=200", &owner).await.is(200).text;
        assert_eq!(people.contains(&format!("\"{email}\"")), joined == 1, "who was let in is there");
        assert_eq!(server.to_join(), 0, "nothing is left to be finished");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_end_each_other_one_stays() {
    for round in 0..6 {
        let (server, one) = TestServer::set_up().await;
        let other = server.add_with_role(one.organization, SystemRole::Owner).await;
        let ends = async |by: &Somebody, about: &Somebody| {
            let person = format!("/v1/people/{}", about.person);
            match round % 3 {
                0 => server.delete(&person, by).await,
                1 => server.post(&format!("{person}/suspend"), Some(by), &json!({})).await,
                _ => server.post(&format!("{person}/erase"), Some(by), &json!({})).await,
            }
        };
        let answers = <[Answer; 2]>::from(tokio::join!(ends(&one, &other), ends(&other, &one)));
        let ended = answers.iter().filter(|answer| [200, 204].contains(&answer.status)).count();
        assert_eq!(ended, 1, "{} {}", answers[0].text, answers[1].text);
        for refused in answers.iter().filter(|answer| answer.status >= 400) {
            // By then they are nobody, or were before they asked.
            assert!([401, 403].contains(&refused.status), "{} {}", refused.status, refused.text);
        }
        let stays = if answers[0].status < 400 { &one } else { &other };
        let me = server.get("/v1/me", stays).await.is(200).json();
        assert_eq!(me["roles"][0]["id"], "owner");
        let active = server.get("/v1/people?status=active", stays).await.is(200).json();
        assert_eq!(active["data"].as_array().unwrap().len(), 1, "{active}");
    }
}
