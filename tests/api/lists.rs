//! Pages of lists: limits, cursors, and whose they are.

use serde_json::json;

use crate::server::{Somebody, TestServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_by_id_to_the_end() {
    let (server, owner) = TestServer::set_up().await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(server.environment(&owner, &format!("Env {number}"), "test").await);
    }
    let mut path = "/v1/environments?limit=2".to_owned();
    let mut listed = Vec::new();
    let mut pages = 0;
    loop {
        let page = server.get(&path, &owner).await.is(200).json();
        listed.extend(page["data"].as_array().unwrap().iter().map(|row| text(&row["id"])));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/environments?limit=2&cursor={cursor}");
    }
    assert_eq!(listed, made);
    assert_eq!(pages, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_sessions_have_pages_too() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.patch("/v1/environments/dev/config", &owner, &json!({"C": 1, "A": 1, "B": 1})).await.is(200);
    let page = server.get("/v1/environments/dev/config?limit=2", &owner).await.is(200).json();
    let keys: Vec<_> = page["data"].as_array().unwrap().iter().map(|row| text(&row["key"])).collect();
    assert_eq!(keys, ["A", "B"]);
    let next = format!("/v1/environments/dev/config?cursor={}", text(&page["next_cursor"]));
    assert_eq!(server.get(&next, &owner).await.is(200).json()["data"][0]["key"], "C");

    server.another_session(&owner).await;
    let page = server.get("/v1/me/sessions?limit=1", &owner).await.is(200).json();
    let next = format!("/v1/me/sessions?cursor={}", text(&page["next_cursor"]));
    let rest = server.get(&next, &owner).await.is(200).json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_ne!(rest["data"][0]["id"], page["data"][0]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_opaque_and_of_one_list_and_organization() {
    let (server, owner) = TestServer::set_up().await;
    for number in 0..3 {
        server.environment(&owner, &format!("Env {number}"), "test").await;
    }
    let page = server.get("/v1/environments?limit=1", &owner).await.is(200).json();
    let cursor = text(&page["next_cursor"]);
    let beta = json!({"name": "Beta", "timezone": "UTC"});
    let beta = text(&server.post("/v1/organizations", Some(&owner), &beta).await.is(201).json()["id"]);
    let there =
        server.another_session(&Somebody { organization: beta.parse().unwrap(), ..owner.clone() }).await;

    let mut tampered = cursor.clone().into_bytes();
    let last = tampered.len() - 1;
    tampered[last] = if tampered[last] == b'A' { b'Q' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let cases = [
        (&owner, format!("/v1/environments?cursor={tampered}")),
        (&owner, "/v1/environments?cursor=".to_owned()),
        (&owner, format!("/v1/audit?cursor={cursor}")),
        (&there, format!("/v1/environments?cursor={cursor}")),
    ];
    for (who, path) in cases {
        let problem = server.get(&path, who).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["parameter"], "cursor", "{path}");
        assert_eq!(problem["errors"][0]["code"], "invalid_cursor", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_epoch_is_expired() {
    use settled::http::page::{After, Cursors};
    use settled::http::query::RawQuery;

    let (server, owner) = TestServer::set_up().await;
    let scope = owner.organization.to_string();
    let older = Cursors::new(server.app().store.ring().derive("cursors"), "ab12cd");
    let request = older.request(&scope, "environments", &RawQuery::default()).unwrap();
    let cursor = older.next(&scope, "environments", &request, After { last: "x".into(), version: None });
    let answer = server.get(&format!("/v1/environments?cursor={cursor}"), &owner).await;
    answer.is_problem(410, "cursor_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_values_ends_at_a_mebibyte_and_the_next_goes_on() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let large = "x".repeat(60_000);
    for half in ["A", "B"] {
        let values: serde_json::Map<String, serde_json::Value> =
            (0..12).map(|number| (format!("{half}{number:02}"), json!(large))).collect();
        server.patch("/v1/environments/dev/config", &owner, &json!(values)).await.is(200);
    }
    let mut url = "/v1/environments/dev/config?limit=200".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = server.get(&url, &owner).await.is(200).json();
        pages.push(page["data"].as_array().unwrap().len());
        match page["next_cursor"].as_str() {
            Some(cursor) => url = format!("/v1/environments/dev/config?limit=200&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(pages, [17, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_the_past_passes_a_mebibyte() {
    use settled::http::page::PAGE_MAX_BYTES;

    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let begun = server.version(owner.organization);
    for letter in ["x", "y", "z"] {
        for half in ["A", "B"] {
            let values: serde_json::Map<String, serde_json::Value> =
                (0..12).map(|number| (format!("{half}{number:02}"), json!(letter.repeat(60_000)))).collect();
            server.patch("/v1/environments/dev/config", &owner, &json!(values)).await.is(200);
        }
    }
    let ended = server.version(owner.organization);
    for (first, next, expected) in [
        ("/v1/events?limit=200".to_owned(), "next_after", None),
        (format!("/v1/history/{dev}?limit=200"), "next_cursor", Some(3 * 24 + 1)),
        (format!("/v1/diff?from={begun}&limit=200"), "next_cursor", Some(24)),
        (format!("/v1/diff?from={}&to={ended}&limit=200", ended - 24), "next_cursor", Some(24)),
        ("/v1/environments/dev/config?limit=200".to_owned(), "next_cursor", Some(24)),
    ] {
        let (mut url, mut rows, mut pages) = (first.clone(), Vec::new(), 0);
        loop {
            let answer = server.get(&url, &owner).await.is(200);
            // Around the elements there are commas, brackets and a cursor.
            assert!(answer.text.len() < PAGE_MAX_BYTES + 2_048, "{url}: {}", answer.text.len());
            let page = answer.json();
            rows.extend(page["data"].as_array().unwrap().iter().map(ToString::to_string));
            pages += 1;
            let parameter = if next == "next_after" { "after" } else { "cursor" };
            let Some(next) = Some(&page[next]).filter(|next| !next.is_null()) else { break };
            url = format!("{first}&{parameter}={}", next.as_str().map_or(next.to_string(), str::to_owned));
        }
        assert!(pages > 1, "{first}");
        let expected = expected.unwrap_or_else(|| server.version(owner.organization) as usize);
        assert_eq!(rows.len(), expected, "{first}");
        rows.sort();
        rows.dedup();
        assert_eq!(rows.len(), expected, "no row comes twice: {first}");
    }
}
