//! Logins by token that cannot be decided at once: the store is away, or too many from the same
//! address have failed. A client that hears an error forgets its token, so it hears none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use updraft::account::Accounts;
use updraft::{Builder, RateLimit, TrustedProxies};
use updraft_test_support::client::{CONNECT, Client};
use updraft_test_support::eventually;

use crate::authenticators::Tickets;
use crate::common::{Gate, Running, received};
use crate::faults::Store;
use crate::world::{ALICE, World, builder, call, log_in, whoami};

/// A time that is over soon, and one that no test waits for.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

const LOGIN: &str = r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"tokA"}]}"#;

/// The connection must end with the request to come again, and without a word about the login.
#[track_caller]
fn is_sent_away(client: &mut Client) {
    client.expect_close(1013, "Try again later");
}

#[test]
fn found_103_a_login_by_token_waits_for_the_store() {
    let world = World::new();
    let store = Store::new(&world);
    let server = builder().accounts(Accounts::new(store.clone()));
    let server =
        Running::start(server.configure(|settings| settings.handlers.login_patience = LONG));
    store.fails.store(true, Ordering::Relaxed);
    let mut client = server.client();
    client.send_text(LOGIN);
    eventually("it is asked again", || store.failures.get() >= 2);
    assert_eq!(received(&mut client), [""; 0]);
    store.fails.store(false, Ordering::Relaxed);
    assert_eq!(whoami(&mut client), ALICE);
    assert_eq!(server.stats().postponed_logins, 0);
}

#[test]
fn found_103_a_store_that_stays_away_is_no_answer() {
    let world = World::new();
    let store = Store::new(&world);
    let server = builder().accounts(Accounts::new(store.clone()));
    let server =
        Running::start(server.configure(|settings| settings.handlers.login_patience = SHORT));
    store.fails.store(true, Ordering::Relaxed);
    let mut client = server.client();
    client.send_text(LOGIN);
    is_sent_away(&mut client);
    drop(client);
    assert_eq!(server.stats().postponed_logins, 1);
    // The client comes again.
    store.fails.store(false, Ordering::Relaxed);
    log_in(&mut server.client(), "tokA");
}

#[test]
fn found_103_a_store_that_does_not_answer_is_no_answer() {
    let world = World::new();
    let mut store = Store::new(&world);
    let held = Gate::new();
    store.found = Some(held.clone());
    let server = builder().accounts(Accounts::new(store));
    let server =
        Running::start(server.configure(|settings| settings.handlers.login_patience = SHORT));
    let mut client = server.client();
    client.send_text(LOGIN);
    held.await_arrival(&server);
    is_sent_away(&mut client);
}

#[test]
fn found_103_a_login_does_not_wait_for_longer_than_its_client() {
    let world = World::new();
    let store = Store::new(&world);
    let server = builder().accounts(Accounts::new(store.clone()));
    let server =
        Running::start(server.configure(|settings| settings.handlers.login_patience = LONG));
    store.fails.store(true, Ordering::Relaxed);
    let mut client = server.client();
    client.send_text(LOGIN);
    eventually("the login waits", || server.stats().tasks > 0);
    drop(client);
    eventually("it has ended", || server.stats().tasks == 0);
}

/// A server to which the clients' addresses are told, and that allows so many failures.
fn limited(store: Store, failures: u32) -> Builder {
    let rule = RateLimit::failed_methods(["login"]).per_address();
    builder()
        .accounts(Accounts::new(store))
        .authenticator(Tickets::default())
        .configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1))
        .login_rules([rule.limit(failures, LONG)])
}

fn from(server: &Running, address: &str) -> Client {
    let headers = [("X-Forwarded-For", address)];
    let mut client = Client::connect_with(server.url(), &headers).unwrap();
    client.send_text(CONNECT);
    client.expect_any_text();
    client
}

#[test]
fn found_103_eleven_hundred_valid_logins_from_one_address_succeed() {
    let world = World::new();
    let server = builder().accounts(Accounts::new(world.users.clone()));
    let server = Running::start(
        server.configure(|settings| settings.trusted_proxies = TrustedProxies::Hops(1)),
    );
    for _ in 0..1100 {
        log_in(&mut from(&server, "203.0.113.7"), "tokA");
    }
    let stats = server.stats();
    assert_eq!((stats.rate_limited, stats.postponed_logins), (0, 0));
}

#[test]
fn found_103_many_valid_logins_at_once_succeed_also_while_the_store_is_away() {
    let world = World::new();
    let store = Store::new(&world);
    let server =
        limited(store.clone(), 10).configure(|settings| settings.handlers.login_patience = LONG);
    let server = Running::start(server);
    store.fails.store(true, Ordering::Relaxed);
    let mut clients: Vec<Client> = (0..50).map(|_| from(&server, "203.0.113.7")).collect();
    for client in &mut clients {
        client.send_text(LOGIN);
    }
    eventually("it is asked again", || store.failures.get() > clients.len());
    store.fails.store(false, Ordering::Relaxed);
    for client in &mut clients {
        assert_eq!(whoami(client), ALICE);
    }
    let stats = server.stats();
    assert_eq!((stats.rate_limited, stats.postponed_logins), (0, 0));
}

#[test]
fn found_103_who_mixes_guesses_with_valid_logins_has_no_more_guesses() {
    let world = World::new();
    let server = limited(Store::new(&world), 11)
        .configure(|settings| settings.handlers.login_patience = SHORT);
    let server = Running::start(server);
    let guess = |client: &mut Client| {
        let answer = call(client, "login", r#"[{"resume":"guess"}]"#);
        assert_eq!(answer["error"]["error"], 403, "{answer}");
    };
    for _ in 0..5 {
        let mut client = from(&server, "203.0.113.7");
        guess(&mut client);
        log_in(&mut client, "tokA");
        guess(&mut client);
        log_in(&mut client, "tokA2");
    }
    guess(&mut from(&server, "203.0.113.7"));
    // Whether a token is a good one is not said any more, nor whether it is none.
    for token in ["guess", "tokA"] {
        let mut client = from(&server, "203.0.113.7");
        client.send_text(&LOGIN.replace("tokA", token));
        is_sent_away(&mut client);
    }
    assert_eq!(server.stats().postponed_logins, 2);
    // By other means than a token one is told so.
    let mut client = from(&server, "203.0.113.7");
    for ticket in ["nobody", ALICE] {
        let answer = call(
            &mut client,
            "login",
            &format!(r#"[{{"ticket":"{ticket}"}}]"#),
        );
        assert_eq!(answer["error"]["error"], "too-many-requests", "{answer}");
    }
    assert_eq!(server.stats().rate_limited, 4);
    log_in(&mut from(&server, "203.0.113.8"), "tokA");
}

#[test]
fn found_103_a_store_that_fails_is_no_wrong_guess() {
    let world = World::new();
    let store = Store::new(&world);
    let server = Running::start(
        limited(store.clone(), 1).configure(|settings| settings.handlers.login_patience = SHORT),
    );
    let mut client = from(&server, "203.0.113.7");
    store.fails.store(true, Ordering::Relaxed);
    let issue = format!(r#"[{{"ticket":"{ALICE}","issue":true}}]"#);
    for _ in 0..3 {
        let answer = call(&mut client, "login", &issue);
        assert_eq!(answer["error"]["error"], 500, "{answer}");
    }
    assert_eq!(
        server.stats().failed_handlers,
        3,
        "but it is no small thing"
    );
    store.fails.store(false, Ordering::Relaxed);
    let answer = call(&mut client, "login", &issue);
    assert_eq!(answer["result"]["id"], ALICE, "{answer}");
}
