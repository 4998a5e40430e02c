//! Tokens that are taken and tokens that are not, made by the crate that checks them and by hand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"a secret of at least 32 characters";
const HOUR: u64 = 3600;

fn key() -> JwtKey {
    JwtKey::hs256(SECRET).unwrap()
}

fn signed(claims: &Json) -> String {
    signed_by(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

fn signed_by(algorithm: Algorithm, key: &EncodingKey, claims: &Json) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn in_an_hour() -> u64 {
    get_current_timestamp() + HOUR
}

fn claims() -> Json {
    json!({ "sub": "ada", "exp": in_an_hour() })
}

#[track_caller]
fn assert_refused(jwt: &Jwt, token: &str, reason: &str) {
    let error = jwt.check(token).unwrap_err();
    assert_eq!(error.to_string(), format!("{reason} [403]"));
}

const INVALID: &str = "Not a valid token";
const EXPIRED: &str = "Your session has expired. Please log in again.";

#[test]
fn a_token_says_who_the_user_is_and_until_when() {
    let exp = in_an_hour();
    let login = Jwt::new(key()).check(&signed(&json!({ "sub": "ada", "exp": exp })));
    let login = format!("{:?}", login.unwrap());
    let expires = Date::from_millis(exp as f64 * 1000.0);
    let expected = Login::new("ada", "jwt").expires(expires);
    assert_eq!(login, format!("{expected:?}"));

    let jwt = Jwt::new(key()).user_claim("uid");
    let token = signed(&json!({ "sub": "other", "uid": "ada", "exp": exp }));
    let login = format!("{:?}", jwt.check(&token).unwrap());
    assert_eq!(login, format!("{expected:?}"));
}

#[test]
fn every_algorithm_has_its_key() {
    let cases = [
        (
            JwtKey::rs256(include_bytes!("../../../tests/jwt/rs256.pub.pem")),
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(include_bytes!("../../../tests/jwt/rs256.pem")),
        ),
        (
            JwtKey::es256(include_bytes!("../../../tests/jwt/es256.pub.pem")),
            Algorithm::ES256,
            EncodingKey::from_ec_pem(include_bytes!("../../../tests/jwt/es256.pem")),
        ),
        (
            JwtKey::eddsa(include_bytes!("../../../tests/jwt/eddsa.pub.pem")),
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(include_bytes!("../../../tests/jwt/eddsa.pem")),
        ),
    ];
    for (key, algorithm, signing) in cases {
        let jwt = Jwt::new(key.unwrap());
        let token = signed_by(algorithm, &signing.unwrap(), &claims());
        assert!(jwt.check(&token).is_ok(), "{algorithm:?}");
        // The last character of a signature has bits that are not looked at.
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert_refused(&jwt, &format!("{rest}.{}", "A".repeat(86)), INVALID);
        assert_refused(&jwt, &signed(&claims()), INVALID);
    }
}

#[test]
fn keys_are_checked_when_they_are_given() {
    for bad in [
        &b""[..],
        b"x",
        include_bytes!("../../../tests/jwt/es256.pub.pem"),
    ] {
        let error = JwtKey::rs256(bad).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Configuration);
    }
    assert!(JwtKey::hs256(&SECRET[..31]).is_err());
    let shown = format!("{:?}", Jwt::new(key()));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn the_token_chooses_no_algorithm() {
    let public = include_bytes!("../../../tests/jwt/rs256.pub.pem");
    let jwt = Jwt::new(JwtKey::rs256(public).unwrap());
    // The public key, taken for a secret.
    let signing = EncodingKey::from_secret(public);
    assert_refused(
        &jwt,
        &signed_by(Algorithm::HS256, &signing, &claims()),
        INVALID,
    );
    let signing = EncodingKey::from_secret(SECRET);
    let other = signed_by(Algorithm::HS512, &signing, &claims());
    assert_refused(&Jwt::new(key()), &other, INVALID);
    // No signature at all.
    let encoded = |part: &str| URL_SAFE_NO_PAD.encode(part);
    let body = encoded(&claims().to_string());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        "{}",
        "[]",
    ] {
        let token = format!("{}.{body}.", encoded(header));
        assert_refused(&Jwt::new(key()), &token, INVALID);
    }
}

#[test]
fn a_token_without_a_valid_time_is_refused() {
    let jwt = Jwt::new(key());
    let now = get_current_timestamp();
    for exp in [json!(now), json!(now - HOUR), json!(0)] {
        assert_refused(&jwt, &signed(&json!({ "sub": "ada", "exp": exp })), EXPIRED);
    }
    for exp in [
        json!("soon"),
        json!(null),
        json!(-1),
        json!(1e300),
        json!({}),
    ] {
        let refused = jwt.check(&signed(&json!({ "sub": "ada", "exp": exp })));
        assert!(refused.is_err(), "{exp}");
    }
    assert_refused(&jwt, &signed(&json!({ "sub": "ada" })), INVALID);
    let early = json!({ "sub": "ada", "exp": in_an_hour(), "nbf": now + HOUR });
    assert_refused(&jwt, &signed(&early), INVALID);
    let skewed = json!({ "sub": "ada", "exp": in_an_hour(), "nbf": now + CLOCK_SKEW / 2 });
    assert!(jwt.check(&signed(&skewed)).is_ok());
}

#[test]
fn a_token_without_a_user_is_refused() {
    for sub in [
        json!(""),
        json!(5),
        json!(null),
        json!({ "$gt": "" }),
        json!(["ada"]),
    ] {
        let token = signed(&json!({ "sub": sub, "exp": in_an_hour() }));
        assert_refused(&Jwt::new(key()), &token, INVALID);
    }
    let token = signed(&json!({ "exp": in_an_hour() }));
    assert_refused(&Jwt::new(key()), &token, INVALID);
}

#[test]
fn issuer_and_audience_are_those_that_are_asked_for() {
    let with = |more: Json| {
        let mut claims = claims();
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        signed(&claims)
    };
    let plain = Jwt::new(key());
    assert!(plain.check(&with(json!({ "iss": "any" }))).is_ok());
    assert_refused(&plain, &with(json!({ "aud": "someone" })), INVALID);

    let strict = Jwt::new(key()).issuer("me").audience("chat");
    assert!(
        strict
            .check(&with(json!({ "iss": "me", "aud": "chat" })))
            .is_ok()
    );
    assert!(
        strict
            .check(&with(json!({ "iss": "me", "aud": ["x", "chat"] })))
            .is_ok()
    );
    for more in [
        json!({}),
        json!({ "iss": "me" }),
        json!({ "aud": "chat" }),
        json!({ "iss": "you", "aud": "chat" }),
        json!({ "iss": "me", "aud": "mail" }),
        json!({ "iss": "me", "aud": null }),
    ] {
        assert_refused(&strict, &with(more), INVALID);
    }
}

#[test]
fn any_of_several_keys_will_do() {
    let old = b"an older secret of 32 characters or so";
    let jwt = Jwt::new(key()).or(JwtKey::hs256(old).unwrap());
    let older = signed_by(Algorithm::HS256, &EncodingKey::from_secret(old), &claims());
    assert!(jwt.check(&older).is_ok());
    assert!(jwt.check(&signed(&claims())).is_ok());
    assert_refused(&Jwt::new(key()), &older, INVALID);
    let public = include_bytes!("../../../tests/jwt/eddsa.pub.pem");
    let mixed = Jwt::new(JwtKey::eddsa(public).unwrap()).or(key());
    assert!(mixed.check(&signed(&claims())).is_ok());
    // Which key it was for decides, not the last one that was tried.
    let expired = signed(&json!({ "sub": "ada", "exp": 1 }));
    assert_refused(&jwt, &expired, EXPIRED);
}

#[test]
fn what_is_no_token_is_refused() {
    let jwt = Jwt::new(key());
    let good = signed(&claims());
    let longer = format!("{good}.{good}");
    let dots = ".".repeat(1000);
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\0",
        &longer,
        &dots,
        good.trim_start_matches('e'),
    ] {
        assert_refused(&jwt, token, INVALID);
    }
}
