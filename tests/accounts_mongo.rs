//! Meteor's accounts over a real MongoDB, or a server that speaks its protocol. Without any, these
//! tests are skipped. FerretDB, which continuous integration has, knows no change streams: there,
//! users are polled.

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Running, received, runtime};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client as Mongo, Collection, Database};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use updraft::Server;
use updraft::account::{Accounts, MongoUsers, Password, Token};
use updraft_test_support::client::{Client, PATIENCE};
use updraft_test_support::mongo::{MongoServer, Source};
use updraft_test_support::proxy::Proxy;
use updraft_test_support::transcript::Received;

const POLL: Duration = Duration::from_millis(100);
/// Polling that no test lives to see.
const NEVER: Duration = Duration::from_secs(3600);
const DAY: i64 = 24 * 3600 * 1000;
const LOGGED_OUT: &str = "You've been logged out by the server. Please log in again.";

type Test = fn(&World);

const TESTS: [(&str, Test); 9] = [
    (
        "ddp_166_174_179_180_a_session_with_stored_tokens",
        a_session_with_stored_tokens,
    ),
    (
        "ddp_171_a_token_in_clear_is_upgraded",
        a_token_in_clear_is_upgraded,
    ),
    (
        "ddp_176_178_new_tokens_and_no_others",
        new_tokens_and_no_others,
    ),
    (
        "ddp_168_an_expired_token_is_refused",
        an_expired_token_is_refused,
    ),
    (
        "records_of_other_shapes_are_left_alone",
        records_of_other_shapes_are_left_alone,
    ),
    (
        "a_changed_document_reaches_its_user",
        a_changed_document_reaches_its_user,
    ),
    (
        "row_067_a_password_is_checked_and_a_token_made",
        a_password_is_checked_and_a_token_made,
    ),
    (
        "users_are_found_as_meteor_finds_them",
        users_are_found_as_meteor_finds_them,
    ),
    (
        "found_103_a_mongodb_that_is_away_is_no_answer_to_a_token",
        found_103_a_mongodb_that_is_away_is_no_answer_to_a_token,
    ),
];

/// For servers that have change streams.
const CHANGE_STREAM_TESTS: [(&str, Test); 1] = [(
    "ddp_179_a_change_stream_tells_of_a_token_that_is_gone",
    a_change_stream_tells_of_a_token_that_is_gone,
)];

fn main() {
    let arguments = Arguments::from_args();
    let source = MongoServer::source();
    // Why a test does not run, if it does not.
    let absent = source
        .as_ref()
        .err()
        .map(|reason| format!("no MongoDB: {reason}"));
    let no_change_streams = absent.clone().or_else(|| {
        let has_them = source.as_ref().is_ok_and(has_change_streams);
        (!has_them).then(|| "this server has no change streams: users are polled".into())
    });
    let source = Arc::new(source);
    let trial = |(name, test): (&str, Test), absent: &Option<String>| {
        let (source, absent) = (source.clone(), absent.clone());
        Trial::ignorable_test(name, move || {
            if let Some(reason) = absent {
                return Ok(Completion::ignored_with(reason));
            }
            let source = source.as_ref().as_ref().map_err(Failed::from)?;
            test(&World::start(source));
            Ok(Completion::Completed)
        })
    };
    let all = TESTS.map(|test| trial(test, &absent));
    let more = CHANGE_STREAM_TESTS.map(|test| trial(test, &no_change_streams));
    let trials = all.into_iter().chain(more).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// The flow of the stock client, from the token in its storage to the end.
fn a_session_with_stored_tokens(world: &World) {
    let when = now() - DAY;
    world.insert("ada", &[("tokA", when), ("tokB", when)]);
    let server = world.serve(POLL);
    let mut client = server.client();
    let frames = call(&mut client, "login", &json!([{ "resume": "tokA" }]));
    let document = json!({
        "profile": { "n": 1 },
        "username": "ada",
        "emails": [{ "address": "ada@example.com", "verified": true }],
    });
    let expected =
        json!({ "msg": "added", "collection": "users", "id": "ada", "fields": document });
    let mut own = frames.iter().filter(|frame| frame["collection"] == "users");
    // It may be read before the result, or after it.
    let own = own.next().cloned().unwrap_or_else(|| next(&mut client));
    assert_eq!(own, expected);
    let result = json!({
        "id": "ada",
        "token": "tokA",
        "tokenExpires": { "$date": when + 90 * DAY },
        "type": "resume",
    });
    assert_eq!(frames.last().unwrap()["result"], result);

    // Out, and the token is of no more use.
    let result = call(&mut client, "logout", &json!([]));
    assert!(result.last().unwrap().get("error").is_none());
    assert_eq!(world.hashes("ada"), [hash("tokB")]);
    assert_eq!(
        reason(&mut client, &json!({ "resume": "tokA" })),
        LOGGED_OUT
    );

    // Somebody else takes the other one away.
    log_in(&mut client, "tokB");
    let pull = doc! { "$pull": { "services.resume.loginTokens": world.tokens("ada").remove(0) } };
    world.update("ada", pull);
    await_close(&mut client);
}

fn a_token_in_clear_is_upgraded(world: &World) {
    let when = now() - DAY;
    let record = doc! { "when": DateTime::from_millis(when), "token": "plainTok" };
    let tokens = doc! { "resume": { "loginTokens": [record] } };
    world.insert_document(doc! { "_id": "old", "services": tokens });
    let server = world.serve(POLL);
    let mut client = server.client();
    log_in(&mut client, "plainTok");
    let upgraded = doc! { "when": DateTime::from_millis(when), "hashedToken": hash("plainTok") };
    assert_eq!(world.tokens("old"), [upgraded]);
    // And it is still good.
    log_in(&mut server.client(), "plainTok");
}

fn new_tokens_and_no_others(world: &World) {
    let when = now() - DAY;
    world.insert("ada", &[("tokA", when), ("tokB", when), ("tokC", when)]);
    let server = world.serve(POLL);
    let mut other = server.client();
    log_in(&mut other, "tokB");
    let mut client = server.client();
    log_in(&mut client, "tokA");
    let frames = call(&mut client, "getNewToken", &json!([]));
    let result = &frames.last().unwrap()["result"];
    let token = result["token"].as_str().unwrap();
    assert_eq!(token.len(), 43);
    assert_eq!(result["tokenExpires"]["$date"], when + 90 * DAY);
    assert!(world.hashes("ada").contains(&hash(token)));
    assert_eq!(world.hashes("ada").len(), 4);

    let frames = call(&mut client, "removeOtherTokens", &json!([]));
    assert!(frames.last().unwrap().get("error").is_none());
    assert_eq!(world.hashes("ada"), [hash(token)]);
    await_close(&mut other);
    received(&mut client);
}

fn an_expired_token_is_refused(world: &World) {
    world.insert("ada", &[("tokA", now() - 91 * DAY)]);
    let server = world.serve(POLL);
    let refused = reason(&mut server.client(), &json!({ "resume": "tokA" }));
    assert_eq!(refused, "Your session has expired. Please log in again.");
    // Sweeping them out is Meteor's.
    assert_eq!(world.hashes("ada").len(), 1);
}

fn records_of_other_shapes_are_left_alone(world: &World) {
    let when = now() - DAY;
    let odd = [
        Bson::from(doc! { "when": when, "hashedToken": hash("number"), "more": { "x": 1 } }),
        doc! { "when": DateTime::from_millis(when), "hashedToken": 5 }.into(),
        doc! { "more": true }.into(),
        Bson::Null,
        "text".into(),
    ];
    let tokens = doc! { "resume": { "loginTokens": odd.to_vec() } };
    world.insert_document(doc! { "_id": "ada", "services": tokens });
    // Who has nothing of the kind is no obstacle.
    world.insert_document(doc! { "_id": "none" });
    world.insert_document(doc! { "_id": "odd", "services": { "resume": { "loginTokens": 5 } } });
    let server = world.serve(POLL);
    let mut client = server.client();
    let result = log_in(&mut client, "number");
    assert_eq!(result["tokenExpires"]["$date"], when + 90 * DAY);
    call(&mut client, "logout", &json!([]));
    let left = world.document("ada");
    let left = left.get_document("services").unwrap();
    let left = left.get_document("resume").unwrap();
    assert_eq!(left.get_array("loginTokens").unwrap()[..], odd[1..]);
}

fn a_changed_document_reaches_its_user(world: &World) {
    world.insert("ada", &[("tokA", now())]);
    let server = world.serve(POLL);
    let mut client = server.client();
    log_in(&mut client, "tokA");
    world.update(
        "ada",
        doc! { "$set": { "profile": { "n": 2 }, "secret": 1 } },
    );
    let changed = await_frame(&mut client, |frame| frame["msg"] == "changed");
    let expected = json!({
        "msg": "changed", "collection": "users", "id": "ada", "fields": { "profile": { "n": 2 } },
    });
    assert_eq!(changed, expected);
}

fn a_password_is_checked_and_a_token_made(world: &World) {
    world.insert("ada", &[]);
    world.set_password("ada", "secret");
    let server = world.serve(POLL);
    let mut client = server.client();
    let options = json!({ "user": { "username": "ada" }, "password": hashed("secret") });
    let frames = call(&mut client, "login", &json!([options]));
    let result = &frames.last().unwrap()["result"];
    assert_eq!(
        (&result["id"], &result["type"]),
        (&json!("ada"), &json!("password"))
    );
    let token = result["token"].as_str().unwrap();
    assert_eq!(world.hashes("ada"), [hash(token)]);
    let resumed = log_in(&mut server.client(), token);
    assert_eq!(resumed["tokenExpires"], result["tokenExpires"]);

    const WRONG: &str = "Something went wrong. Please check your credentials.";
    let mut client = server.client();
    for (user, password) in [("ada", "other"), ("nobody", "secret")] {
        let options = json!({ "user": { "username": user }, "password": hashed(password) });
        assert_eq!(reason(&mut client, &options), WRONG);
    }
    // An object is not a name.
    let options = json!({ "user": { "username": { "$gt": "" } }, "password": hashed("secret") });
    assert_eq!(reason(&mut client, &options), "Match failed");
    assert_eq!(world.hashes("ada").len(), 1);

    // What a second factor guards is not opened by the first alone.
    let second = doc! { "secret": "x", "type": "otp" };
    world.update(
        "ada",
        doc! { "$set": { "services.twoFactorAuthentication": second } },
    );
    let options = json!({ "user": { "username": "ada" }, "password": hashed("secret") });
    assert_eq!(reason(&mut client, &options), WRONG);
}

fn users_are_found_as_meteor_finds_them(world: &World) {
    for (id, name) in [
        ("1", "Grace.H"),
        ("2", "Bob"),
        ("3", "bob"),
        ("4", "BOB"),
        ("5", "Éva"),
    ] {
        let emails = [
            doc! { "address": format!("other-{id}@x.org") },
            doc! {
                "address": format!("{name}+tag@Example.com"),
            },
        ];
        world.insert_document(doc! { "_id": id, "username": name, "emails": emails.to_vec() });
        world.set_password(id, "secret");
    }
    let server = world.serve(POLL);
    let who = |user: Json| {
        // A client each, as logins of one are limited.
        let options = json!({ "user": user, "password": hashed("secret") });
        let frames = call(&mut server.client(), "login", &json!([options]));
        frames.last().unwrap()["result"]["id"]
            .as_str()
            .map(str::to_owned)
    };
    let one = |id: &str| Some(id.to_owned());
    assert_eq!(who(json!({ "id": "1" })), one("1"));
    assert_eq!(who(json!({ "username": "Grace.H" })), one("1"));
    assert_eq!(who(json!({ "username": "gRACE.h" })), one("1"));
    assert_eq!(who(json!({ "email": "grace.h+TAG@example.COM" })), one("1"));
    assert_eq!(who(json!({ "username": "bob" })), one("3"));
    assert_eq!(who(json!({ "email": "BOB+tag@Example.com" })), one("4"));
    assert_eq!(who(json!({ "username": "éVA" })), one("5"));
    // Several, and none as it is.
    assert_eq!(who(json!({ "username": "bOb" })), None);
    // Nothing is a pattern.
    assert_eq!(who(json!({ "username": "gracexh" })), None);
    assert_eq!(who(json!({ "username": ".*" })), None);
    assert_eq!(who(json!({ "username": "grace.h\0" })), None);
    assert_eq!(who(json!({ "username": "grac" })), None);
}

fn found_103_a_mongodb_that_is_away_is_no_answer_to_a_token(world: &World) {
    world.insert("ada", &[("tokA", now())]);
    let url = world.server.url();
    let (before, _) = url.rsplit_once('/').unwrap();
    let nowhere = "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200&connectTimeoutMS=200";
    for bad in ["redis://127.0.0.1/x", before, nowhere] {
        assert!(
            world.runtime.block_on(MongoUsers::connect(bad)).is_err(),
            "{bad}"
        );
    }
    // A set of several servers, or one elsewhere, is not to be led through a proxy.
    let port = url
        .strip_prefix("mongodb://127.0.0.1:")
        .and_then(|rest| rest.split_once('/'));
    let Some((Ok(port), database)) = port.map(|(port, rest)| (port.parse(), rest)) else {
        return;
    };
    let proxy = Proxy::start(port);
    let url = format!("mongodb://127.0.0.1:{}/{database}", proxy.port());
    let users = world.runtime.block_on(MongoUsers::connect(&url)).unwrap();
    let users = users.patience(Duration::from_millis(300));
    let patient = Running::start(Server::builder().accounts(Accounts::new(users.clone())));
    let server = Server::builder().accounts(Accounts::new(users));
    let server = server.authenticator(Password::new());
    let server = Running::start(
        server.configure(|settings| settings.handlers.login_patience = Duration::from_millis(300)),
    );
    let mut client = server.client();
    proxy.black_hole(true);
    let options = json!({ "user": { "username": "ada" }, "password": "any" });
    assert_eq!(reason(&mut client, &options), "Internal server error");
    // An error would have its client forget the token.
    let by_token = r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"tokA"}]}"#;
    client.send_text(by_token);
    client.expect_close(1013, "Try again later");
    let mut waiting = patient.client();
    waiting.send_text(by_token);
    proxy.black_hole(false);
    proxy.cut();
    // A connection that is on its way may still be lost, so it may take more than one attempt.
    let granted = loop {
        let text = waiting.expect_any_text();
        if text.contains(r#""msg":"result""#) {
            break text;
        }
    };
    assert!(granted.contains(r#""token":"tokA""#), "{granted}");
}

fn a_change_stream_tells_of_a_token_that_is_gone(world: &World) {
    world.insert("ada", &[("tokA", now())]);
    let server = world.serve(NEVER);
    let mut client = server.client();
    log_in(&mut client, "tokA");
    // When the stream begins is not known, and before it begins nothing is told.
    let pull = doc! { "$set": { "services.resume.loginTokens": [] } };
    world.update("ada", pull);
    let touch = || world.update("ada", doc! { "$inc": { "touched": 1 } });
    common::meanwhile(touch, || await_close(&mut client));
}

/// A database of the test's own, and a runtime for what it asks.
struct World {
    server: MongoServer,
    runtime: Runtime,
    database: Database,
    users: Collection<Document>,
}

impl World {
    fn start(source: &Source) -> Self {
        let server = MongoServer::start(source);
        let runtime = runtime();
        let mongo = runtime.block_on(Mongo::with_uri_str(server.url())).unwrap();
        let database = mongo.default_database().unwrap();
        Self {
            server,
            runtime,
            users: database.collection("users"),
            database,
        }
    }

    /// A server with logins by stored token and by password.
    fn serve(&self, poll_interval: Duration) -> Running {
        let users = self
            .runtime
            .block_on(MongoUsers::connect(self.server.url()));
        let accounts = Accounts::new(users.unwrap()).poll_interval(poll_interval);
        Running::start(
            Server::builder()
                .accounts(accounts)
                .authenticator(Password::new().rounds(4)),
        )
    }

    /// A user as Meteor makes one.
    fn insert(&self, id: &str, tokens: &[(&str, i64)]) {
        let tokens = tokens.iter().map(|(token, when)| {
            doc! { "when": DateTime::from_millis(*when), "hashedToken": hash(token) }
        });
        let tokens: Vec<Document> = tokens.collect();
        self.insert_document(doc! {
            "_id": id,
            "createdAt": DateTime::now(),
            "profile": { "n": 1 },
            "services": { "resume": { "loginTokens": tokens } },
            "username": id,
            "emails": [{ "address": format!("{id}@example.com"), "verified": true }],
        });
    }

    fn insert_document(&self, document: Document) {
        let insert = self.users.insert_one(document).into_future();
        self.runtime.block_on(insert).unwrap();
    }

    fn update(&self, id: &str, change: Document) {
        let update = self.users.update_one(doc! { "_id": id }, change);
        self.runtime.block_on(update.into_future()).unwrap();
    }

    fn set_password(&self, id: &str, password: &str) {
        let digest = hashed(password)["digest"].as_str().unwrap().to_owned();
        let bcrypt = bcrypt::hash(digest, 4).unwrap();
        self.update(id, doc! { "$set": { "services.password.bcrypt": bcrypt } });
    }

    fn document(&self, id: &str) -> Document {
        let find = self.users.find_one(doc! { "_id": id }).into_future();
        self.runtime.block_on(find).unwrap().unwrap()
    }

    /// The records of a user's tokens.
    fn tokens(&self, id: &str) -> Vec<Document> {
        let document = self.document(id);
        let resume = document.get_document("services").unwrap();
        let resume = resume.get_document("resume").unwrap();
        let records = resume.get_array("loginTokens").unwrap();
        let records = records.iter().map(|it| it.as_document().unwrap().clone());
        records.collect()
    }

    fn hashes(&self, id: &str) -> Vec<String> {
        let records = self.tokens(id).into_iter();
        records
            .map(|record| record.get_str("hashedToken").unwrap().to_owned())
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The server may be somebody's. If it cannot be dropped, there is nothing more to be done.
        let dropping = self.database.drop();
        let dropping = async { tokio::time::timeout(PATIENCE, dropping).await };
        drop(self.runtime.block_on(dropping));
    }
}

/// Members of replica sets have change streams.
fn has_change_streams(source: &Source) -> bool {
    let world = World::start(source);
    let hello = world.database.run_command(doc! { "hello": 1 });
    let hello = world.runtime.block_on(hello.into_future());
    hello.is_ok_and(|hello| hello.contains_key("setName"))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

fn hash(token: &str) -> String {
    Token::new(token).hashed().as_str().to_owned()
}

/// A password as Meteor's client sends it.
fn hashed(password: &str) -> Json {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(password.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "digest": digest, "algorithm": "sha-256" })
}

fn next(client: &mut Client) -> Json {
    serde_json::from_str(&client.expect_any_text()).unwrap()
}

fn await_frame(client: &mut Client, is_it: impl Fn(&Json) -> bool) -> Json {
    loop {
        let frame = next(client);
        if is_it(&frame) {
            return frame;
        }
    }
}

/// Calls a method; everything up to its result.
fn call(client: &mut Client, method: &str, params: &Json) -> Vec<Json> {
    let message = json!({ "msg": "method", "id": "1", "method": method, "params": params });
    client.send_text(&message.to_string());
    let mut frames = Vec::new();
    loop {
        frames.push(next(client));
        if frames.last().is_some_and(|frame| frame["msg"] == "result") {
            return frames;
        }
    }
}

fn log_in(client: &mut Client, token: &str) -> Json {
    let frames = call(client, "login", &json!([{ "resume": token }]));
    let result = frames.last().unwrap();
    assert_eq!(result["result"]["type"], "resume", "{result}");
    result["result"].clone()
}

/// Why a login is refused.
fn reason(client: &mut Client, options: &Json) -> String {
    let frames = call(client, "login", &json!([options]));
    let reason = &frames.last().unwrap()["error"]["reason"];
    reason.as_str().unwrap_or("granted").to_owned()
}

/// Waits until the server has closed the connection as it does when a token is gone.
#[track_caller]
fn await_close(client: &mut Client) {
    loop {
        match client.receive(2 * PATIENCE) {
            Some(Received::Text(_)) => {}
            Some(Received::Close { code, .. }) => return assert_eq!(code, 1000),
            other => panic!("the connection was not closed: {other:?}"),
        }
    }
}
