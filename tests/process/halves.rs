//! kill -9 and power cuts while an organization is founded, somebody asks to join by their domain, somebody accepts an
//! invitation, and somebody who waits to be let in deletes their account: each is in two streams, and after the start is
//! finished or as before.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::accepting::{PASSWORD, token};
use crate::disk::Disk;
use crate::journal::assert_sound;
use crate::process::{Login, Server, Start, scale, text};

/// A server that is set up, whose organization has a domain, and where mails go.
struct Story<'a> {
    mails: &'a Path,
    owner: Login,
}

/// What is under way when the server dies, and whether it was acknowledged.
struct UnderWay {
    round: u64,
    asks: Login,
    goes: Login,
    acceptance: Value,
    founded: bool,
    asked: bool,
    gone: bool,
    accepted: bool,
}

/// A request that shows no credential, and its answer.
async fn public(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let request = settled::client::http::plain().build().unwrap().post(format!("{}{path}", server.url));
    let response = request.json(body).send().await.expect("the server answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("the answer can be read");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Logs in with an address to no organization, if it has an account.
async fn log_in(server: &Server, email: &str) -> Option<Login> {
    let body = json!({"email": email, "password": PASSWORD, "organization": null});
    let (status, body) = public(server, "/v1/auth/login", &body).await;
    assert!([200, 401].contains(&status), "{status} {body}");
    (status == 200).then(|| Login { token: text(&body["token"]), organization: String::new() })
}

impl<'a> Story<'a> {
    /// Ada's organization, whose domain somebody vouches for who accepted an invitation.
    async fn begin(start: &Start, mails: &'a Path) -> Self {
        let server = start.serve();
        let story = Self { mails, owner: server.set_up().await };
        let accept = story.invite(&server, "vouches@example.com").await;
        assert_eq!(public(&server, ACCEPT, &accept).await.0, 200);
        let domain = json!({"email_domain": "example.com"});
        assert_eq!(server.call(&story.owner, "PATCH", "/v1/general", Some(domain)).await.0, 200);
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        story
    }

    /// What somebody who is invited accepts with.
    async fn invite(&self, server: &Server, email: &str) -> Value {
        let invited = json!({"email": email, "role": "viewer"});
        let (status, body) = server.call(&self.owner, "POST", "/v1/invitations", Some(invited)).await;
        assert_eq!(status, 201, "{body}");
        json!({"token": token(self.mails, email).await, "name": "V", "password": PASSWORD})
    }

    /// Somebody with an account whose address is verified.
    async fn newcomer(&self, server: &Server, email: &str) -> Login {
        let sign_up = json!({"email": email, "name": "Nora", "password": PASSWORD});
        assert_eq!(public(server, "/v1/auth/signup", &sign_up).await.0, 202);
        let verify = json!({"token": token(self.mails, email).await});
        assert_eq!(public(server, "/v1/auth/verify-email", &verify).await.0, 204);
        log_in(server, email).await.expect("the account is there")
    }

    fn request(&self) -> Value {
        json!({"organization": self.owner.organization})
    }

    /// Everything at once, and in its midst the end.
    async fn dies(&self, round: u64, mut server: Server, cut: impl FnOnce()) -> UnderWay {
        let asks = self.newcomer(&server, &format!("asks{round}@example.com")).await;
        let goes = self.newcomer(&server, &format!("goes{round}@example.com")).await;
        let asked = server.call(&goes, "POST", "/v1/me/join-requests", Some(self.request())).await;
        assert_eq!(asked.0, 201, "{}", asked.1);
        let acceptance = self.invite(&server, &joins(round)).await;
        let sent = [
            (Some(&self.owner), "POST", "/v1/organizations", json!({"name": name(round), "timezone": "UTC"})),
            (Some(&asks), "POST", "/v1/me/join-requests", self.request()),
            (Some(&goes), "DELETE", "/v1/me", json!({"password": PASSWORD})),
            (None, "POST", ACCEPT, acceptance.clone()),
        ];
        let sent = sent.map(|(who, method, path, body)| {
            let request = settled::client::http::plain().build().unwrap();
            let request = request.request(method.parse().unwrap(), format!("{}{path}", server.url));
            let request = match who {
                Some(who) => request.bearer_auth(&who.token),
                None => request,
            };
            tokio::spawn(request.json(&body).send())
        });
        tokio::time::sleep(Duration::from_micros(round * 3_500 % 40_000)).await;
        cut();
        server.process.kill();
        let mut acknowledged = Vec::new();
        for sent in sent {
            acknowledged.push(matches!(sent.await.unwrap(), Ok(answer) if answer.status().is_success()));
        }
        let [founded, asked, gone, accepted] = acknowledged[..] else { panic!("four were sent") };
        UnderWay { round, asks, goes, acceptance, founded, asked, gone, accepted }
    }

    /// Holds that each is finished or as before, and that what is as before can be done; which were finished.
    async fn is_whole(&self, server: &Server, under_way: &UnderWay) -> [bool; 4] {
        [
            self.founding(server, under_way).await,
            self.asking(server, under_way).await,
            self.going(server, under_way).await,
            self.accepting(server, under_way).await,
        ]
    }

    async fn founding(&self, server: &Server, under_way: &UnderWay) -> bool {
        let login = json!({"email": "ada@example.com", "password": PASSWORD});
        let (_, choice) = public(server, "/v1/auth/login", &login).await;
        let all = choice["organizations"].as_array().cloned().unwrap_or_default();
        let mut founded = all.iter().filter(|one| one["name"] == name(under_way.round));
        let Some(one) = founded.next() else {
            assert!(!under_way.founded, "an acknowledged founding is lost: {choice}");
            return false;
        };
        assert!(founded.next().is_none(), "founded twice: {choice}");
        let mut login = login;
        login["organization"] = one["id"].clone();
        let (status, there) = public(server, "/v1/auth/login", &login).await;
        assert_eq!(status, 200, "{there}");
        let there = Login { token: text(&there["token"]), organization: text(&one["id"]) };
        let (_, me) = server.call(&there, "GET", "/v1/me", None).await;
        assert_eq!(me["roles"][0]["id"], "owner", "{me}");
        true
    }

    /// How many wait to be let in with an address.
    async fn waiting(&self, server: &Server, email: &str) -> usize {
        let (status, page) = server.call(&self.owner, "GET", "/v1/join-requests?limit=200", None).await;
        assert_eq!(status, 200, "{page}");
        page["data"].as_array().unwrap().iter().filter(|row| row["email"] == email).count()
    }

    async fn asking(&self, server: &Server, under_way: &UnderWay) -> bool {
        let email = format!("asks{}@example.com", under_way.round);
        let waited = self.waiting(server, &email).await;
        assert!(waited == 1 || (waited == 0 && !under_way.asked), "{waited} requests");
        let (status, body) =
            server.call(&under_way.asks, "POST", "/v1/me/join-requests", Some(self.request())).await;
        assert_eq!(
            (status, &body["status"]),
            (if waited == 1 { 200 } else { 201 }, &json!("pending")),
            "{body}"
        );
        assert_eq!(self.waiting(server, &email).await, 1);
        waited == 1
    }

    async fn accepting(&self, server: &Server, under_way: &UnderWay) -> bool {
        let path = format!("/v1/people?q={}", joins(under_way.round));
        let members = async || server.call(&self.owner, "GET", &path, None).await.1["data"].clone();
        let joined = members().await[0].is_object();
        assert!(joined || !under_way.accepted, "an acknowledged acceptance is lost");
        // Once it was accepted its link leads nowhere, and before it leads in.
        let (status, body) = public(server, ACCEPT, &under_way.acceptance).await;
        assert_eq!(status, if joined { 422 } else { 200 }, "{body}");
        let members = members().await;
        assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
        let path = format!("/v1/role-assignments?subject={}", text(&members[0]["id"]));
        let (_, grants) = server.call(&self.owner, "GET", &path, None).await;
        assert_eq!(grants["data"][0]["role"], "viewer", "{grants}");
        joined
    }

    async fn going(&self, server: &Server, under_way: &UnderWay) -> bool {
        let email = format!("goes{}@example.com", under_way.round);
        let went = log_in(server, &email).await.is_none();
        assert!(went || !under_way.gone, "an acknowledged farewell is lost");
        if !went {
            // Its request may be withdrawn already: that is the half which comes first, and does no harm.
            let farewell = json!({"password": PASSWORD});
            let (status, body) = server.call(&under_way.goes, "DELETE", "/v1/me", Some(farewell)).await;
            assert_eq!(status, 204, "{body}");
        }
        assert!(log_in(server, &email).await.is_none());
        assert_eq!(self.waiting(server, &email).await, 0, "nobody is let in whom there is no account behind");
        went
    }
}

const ACCEPT: &str = "/v1/auth/invitations/accept";

fn joins(round: u64) -> String {
    format!("joins{round}@example.com")
}

fn name(round: u64) -> String {
    format!("Founded {round}")
}

fn told(finished: [u32; 4]) -> String {
    let [founded, asked, gone, accepted] = finished;
    format!(
        "{founded} foundings, {asked} requests, {gone} farewells and {accepted} acceptances were finished"
    )
}

fn add(finished: &mut [u32; 4], these: [bool; 4]) {
    for (sum, one) in finished.iter_mut().zip(these) {
        *sum += u32::from(one);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_people_come_and_go_has_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let options = ["--mail-dir", mails.to_str().unwrap(), "--signup", "open", "--organizations", "open"];
    let start = Start::on(folder.path().join("data")).with(&options);
    let story = Story::begin(&start, &mails).await;
    let (rounds, mut finished) = (u64::from(12 * scale()), [0; 4]);
    for round in 0..rounds {
        let under_way = story.dies(round, start.serve(), || {}).await;
        add(&mut finished, story.is_whole(&start.serve(), &under_way).await);
    }
    assert_sound(&start.dir);
    println!("kill -9: of {rounds} each, {}", told(finished));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_while_people_come_and_go_leaves_nothing_half_done() {
    let disk = Disk::new(128);
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let options = ["--mail-dir", mails.to_str().unwrap(), "--signup", "open", "--organizations", "open"];
    let space = ["--min-free-disk", "16MiB", "--ballast", "4MiB"];
    let start = Start::on(disk.path().join("data")).with(&[&options[..], &space].concat());
    let start = start.logging_to(folder.path().join("stderr"));
    let story = Story::begin(&start, &mails).await;
    let (rounds, mut finished) = (u64::from(5 * scale()), [0; 4]);
    for round in 0..rounds {
        let under_way = story.dies(round * 2 + 1, start.serve(), || disk.cut()).await;
        disk.remount();
        let server = start.serve();
        add(&mut finished, story.is_whole(&server, &under_way).await);
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    }
    println!("power cuts: of {rounds} each, {}", told(finished));
}
