//! What comes to people by mail, and what they send back of it.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use super::Client;
use crate::canary::files_under;
use crate::server::text;

/// An account comes, forgets its password, changes its address and goes. The tokens that do it are in the mails alone.
pub(super) async fn accounts_by_mail(client: &mut Client<'_>, mails: &Path) {
    let names = &["newcomer name", "newcomer email", "another email"];
    let of = |client: &Client<'_>, kind: &str| client.canaries.of(kind).to_owned();
    let (email, another) = (of(client, "newcomer email"), of(client, "another email"));
    let (password, third) = (of(client, "newcomer password"), of(client, "third password"));
    let post = Method::POST;

    let name = of(client, "newcomer name");
    let sign_up = json!({"email": email, "name": name, "password": password});
    client.json(post.clone(), "/v1/auth/signup", None, &sign_up, &[]).await.is(202);
    let verify = json!({"token": mailed(mails, 1).await});
    client.canaries.0.insert("verifying token", text(&verify["token"]));
    let wrong = json!({"token": of(client, "wrong mailed token")});
    client.json(post.clone(), "/v1/auth/verify-email", None, &wrong, &[]).await.is(422);
    client.json(post.clone(), "/v1/auth/verify-email", None, &verify, &[]).await.is(204);
    client.json(post.clone(), "/v1/auth/verify-email", None, &verify, &[]).await.is(422);
    client.json(post.clone(), "/v1/auth/signup", None, &sign_up, &[]).await.is(202);

    let forgot = json!({"email": email});
    client.json(post.clone(), "/v1/auth/password/forgot", None, &forgot, &[]).await.is(202);
    let reset = json!({"token": mailed(mails, 2).await, "password": third});
    client.canaries.0.insert("resetting token", text(&reset["token"]));
    client.json(post.clone(), "/v1/auth/password/reset", None, &reset, &[]).await.is(204);
    client.json(post.clone(), "/v1/auth/password/reset", None, &reset, &[]).await.is(422);

    let login = json!({"email": email, "password": third});
    let session = client.json(post.clone(), "/v1/auth/login", None, &login, names).await.is(200).json();
    let session = text(&session["token"]);
    client.canaries.0.insert("newcomer's session", session.clone());
    let change = json!({"email": another, "password": third});
    client.json(post.clone(), "/v1/me/email", Some(&session), &change, &[]).await.is(202);
    let confirm = json!({"token": mailed(mails, 3).await});
    client.canaries.0.insert("confirming token", text(&confirm["token"]));
    client.json(post, "/v1/auth/verify-email", None, &confirm, &[]).await.is(204);
    let me = client.request(Method::GET, "/v1/me", Some(&session));
    assert!(client.send(me, names).await.is(200).text.contains(&another));
    let wrong = json!({"password": of(client, "wrong password")});
    client.json(Method::DELETE, "/v1/me", Some(&session), &wrong, &[]).await.is(422);
    client.json(Method::DELETE, "/v1/me", Some(&session), &json!({"password": third}), &[]).await.is(204);
}

/// The token of the mail with the so-many-th link in the folder.
pub(super) async fn mailed(folder: &Path, number: usize) -> String {
    for _ in 0..400 {
        let mut files = files_under(folder);
        files.sort();
        let token = |path: &std::path::PathBuf| {
            let mail = std::fs::read_to_string(path)
                .ok()
                .filter(|_| path.extension().is_some_and(|end| end == "eml"))?;
            let link = mail.lines().find(|line| line.starts_with("http") && line.contains("#token="))?;
            Some(link.trim().split_once("#token=")?.1.to_owned())
        };
        if let Some(token) = files.iter().filter_map(token).nth(number - 1) {
            return token;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no mail within 10 s");
}
