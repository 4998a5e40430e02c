//! Logins by JSON Web Token, which end when the token does and leave nothing behind.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{Running, talk};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use updraft::account::{Jwt, JwtKey};
use updraft::{Call, Result, Server, UserId};

const SECRET: &[u8] = b"a secret of at least 32 characters";

/// A token of Ada's that is good for so many seconds, and when it ends.
fn token(seconds: u64) -> (String, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = now.as_secs() + seconds;
    let key = EncodingKey::from_secret(SECRET);
    let token = encode(
        &Header::default(),
        &json!({ "sub": "ada", "exp": exp }),
        &key,
    );
    (token.unwrap(), exp)
}

async fn whoami(call: Call) -> Result<Option<UserId>> {
    Ok(call.user_id())
}

fn serve() -> Running {
    let jwt = Jwt::new(JwtKey::hs256(SECRET).unwrap());
    let builder = Server::builder()
        .authenticator(jwt)
        .method("whoami", whoami);
    Running::start(builder)
}

#[test]
fn a_connection_ends_when_its_token_does() {
    let server = serve();
    let (token, exp) = token(3);
    let mut client = server.client();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"login","params":[{{"jwt":"{token}"}}]}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1","result":{{"id":"ada","tokenExpires":{{"$date":{exp}000}},"type":"jwt"}}}}
            -> {{"msg":"method","id":"2","method":"whoami","params":[]}}
            <- {{"msg":"updated","methods":["2"]}}
            <- {{"msg":"result","id":"2","result":"ada"}}"#
        ),
    );
    client.expect_close(1000, "Normal closure");
}

#[test]
fn a_token_that_is_refused_changes_nothing() {
    let server = serve();
    let (token, _) = token(0);
    let mut client = server.client();
    talk(
        &mut client,
        &format!(
            r#"
            -> {{"msg":"method","id":"1","method":"login","params":[{{"jwt":"{token}"}}]}}
            <- {{"msg":"updated","methods":["1"]}}
            <- {{"msg":"result","id":"1","error":{{"isClientSafe":true,"error":403,"reason":"Your session has expired. Please log in again.",…
            -> {{"msg":"method","id":"2","method":"login","params":[{{"jwt":5}}]}}
            <- {{"msg":"updated","methods":["2"]}}
            <- {{"msg":"result","id":"2","error":{{"isClientSafe":true,"error":400,"reason":"Match failed",…
            -> {{"msg":"method","id":"3","method":"whoami","params":[]}}
            <- {{"msg":"updated","methods":["3"]}}
            <- {{"msg":"result","id":"3","result":null}}"#
        ),
    );
}
